/**
 * Where a reader stands in a numbered topic: tells new events from doubled, missing and restarted ones.
 *
 * Used by wire.js. Pure: no socket, no DOM.
 */

/** @typedef {{epoch: number, seq: number, first_seq?: number, event: {type: string, [key: string]: any}}} Numbered */
/** @typedef {"apply" | "drop" | "gap" | "reset"} Judgement */

export class Cursor {
  epoch = 0;
  seq = 0;
  /** A resume is on its way: what leaves a gap will come again. */
  resuming = false;
  /** The number at which a resume was answered; -1: none yet. */
  answeredAt = -1;

  /**
   * Judge an event and, if it is to be applied, move on.
   *
   * `reset`: to be applied, and what came before may be incomplete: a new epoch began, or older events are gone.
   * `gap`: not applied; ask the server to resume after `seq`.
   * @param {Numbered} data @returns {Judgement}
   */
  judge(data) {
    const first = data.first_seq ?? data.seq;
    if (data.epoch < this.epoch) return "drop";
    const restarted = data.epoch > this.epoch;
    const seen = restarted ? 0 : this.seq;
    if (data.seq <= seen) return "drop";
    const jump = first > seen + 1;
    if (jump && !this.mayJump(data, seen)) return "gap";
    const fresh = this.epoch === 0;
    this.epoch = data.epoch;
    this.seq = data.seq;
    this.answeredAt = -1;
    return jump || (restarted && !fresh) ? "reset" : "apply";
  }

  /**
   * A gap that no resume can fill: snapshots stand for what is too old, or the server answered and had nothing older.
   * @param {Numbered} data @param {number} seen
   */
  mayJump(data, seen) {
    const snapshot = data.event.type.endsWith("_SNAPSHOT");
    return (this.resuming && snapshot) || (!this.resuming && this.answeredAt === seen);
  }

  /** How many deltas at the front of a merged event are known already. @param {Numbered} data @param {number} before */
  static known(data, before) {
    return Math.max(0, before - (data.first_seq ?? data.seq) + 1);
  }
}
