"""The flow of a turn, and the one place that knows its order: plan, policy, approve, run, reply, audit.

Called by api (to propose, decide, cancel) and by the queue (to work a segment). A segment is an async generator of
AG-UI events; `work` publishes them on the run's topic and is the turn boundary: whatever goes wrong inside becomes the
segment's last event. Knows no transport and no vendor. Every segment ends with RUN_FINISHED or RUN_ERROR.
"""

from llmcore.session.flow import Session, SessionOptions
from llmcore.session.proposal import Proposer
from llmcore.session.prose import ModelCalls
from llmcore.session.recording import Recorder, RecordingOptions
from llmcore.session.replaying import Replayer
from llmcore.session.reply import display_of
from llmcore.session.segments import Segments
from llmcore.session.speaking import Speaker
from llmcore.session.turn import snapshots
from llmcore.session.understanding import Understanding

__all__ = [
    "ModelCalls",
    "Proposer",
    "Recorder",
    "RecordingOptions",
    "Replayer",
    "Segments",
    "Session",
    "SessionOptions",
    "Speaker",
    "Understanding",
    "display_of",
    "snapshots",
]
