"""Words of operators' English: which mean the same, which mean nothing, which cannot be a name.

Read by `words`, once at import. Knows no intents: nothing here may be written with one intent's name in view.
"""

from collections.abc import Mapping


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SYNONYMS = """
restart: restart reboot bounce recycle relaunch respawn kick reload cycle rebooting
start: start boot launch enable resume begin activate
run: run execute exec launch trigger invoke fire perform kickoff
stop: stop halt quit shutdown kill terminate end disable deactivate pause
abort: abort cancel interrupt kill terminate halt stop
delete: delete remove erase rm unlink trash nuke discard del
deletefolder: rmdir
copy: copy cp duplicate clone replicate
move: move mv relocate rename transfer
create: create make mkdir add new
write: write save put store overwrite echo
read: read cat open view less display print
show: show display print give tell view get fetch see present output look
list: list enumerate ls overview which
contents: contents content inside contain include
grep: grep search find filter contain containing mention mentioning match matching
tail: tail last latest newest recent recently lately
status: status state health healthy condition
up: up alive running
down: down dead crashed crash died
memory: memory ram mem swap
cpu: cpu processor cpus core
disk: disk drive storage filesystem partition df hdd ssd volume
network: network net bandwidth traffic throughput interface nic ifconfig
time: time clock date day hour timezone
version: version release
process: process task program
usage: usage utilisation utilization use used using consumption load busy full occupancy
usage: free left remaining remain available space spare
hog: hog hogging eat eating burn burning hungry hungriest consume consuming consumer heaviest heavy biggest
service: service daemon target unit systemd
log: log logfile journal
script: script
file: file document
folder: folder directory dir subfolder subdirectory
name: name named call called
notify: notify notification alert inform
telegram: telegram
message: message text msg
webhook: webhook hook
post: post
send: send
scale: scale replica instance
several: several multiple
line: line entry row
id: id identifier
host: host machine box server computer system here
job: job
queue: queue
partition: partition
user: user
error: error
status: stat
statistics: statistics stats stat metric figure
number: number count many
everything: everything
"""

_PHRASES = """
get rid of: delete
turn off and on again: restart
stop and start: restart
shut down: stop
switch off: stop
turn off: stop
power off: stop
switch on: start
turn on: start
power on: start
bring up: start
fire up: start
spin up: start
boot up: start
start up: start
bring back: start
bring down: stop
take down: stop
tear down: stop
kick off: run
kick over: restart
hard disk: disk
hard drive: disk
file system: disk
make a copy of: copy
free up: tidy
clean up: tidy
tidy up: tidy
clear out: tidy
use up: hog
using up: hog
uses up: hog
eating up: hog
a copy of: copy
free up: tidy
clean up: tidy
tidy up: tidy
clear out: tidy
use up: hog
using up: hog
uses up: hog
eating up: hog
log file: log
log files: log
how much: howmuch
how many: number
how full: usage
how busy: usage
low on: usage
out of: usage
short of: usage
enough space: usage
right now: now
at the moment: now
""".replace("-", " ")

_SEPARABLE = """
take down: stop
bring down: stop
bring up: start
bring back: start
shut down: stop
turn off: stop
turn on: start
switch off: stop
switch on: start
fire up: start
spin up: start
start up: start
"""

_RELATED = """
restart start .35
start run .6
stop abort .7
show list .35
show read .5
statistics usage .5
statistics status .5
status up .6
up down .4
usage hog .5
usage howmuch .5
usage number .3
tail read .4
delete deletefolder .9
deletefolder folder .9
contents list .4
contents read .5
notify message .5
notify send .5
message send .5
read grep .3
"""

STOP_WORDS = _set(
    """
no not nor never none cannot without
a an the this that these those my our your his her its their some such please pls plz kindly thanks thank ok okay hey
hi hello now just simply quickly also too then so well right again once first next finally afterwards after before and
or of on in at to for from by with into onto as is are am was were be been being do does did has have had having i we
you he she it they me us him them there here s re ve ll d m can could will would shall should may might must need want
like what whats which who whom whose where how when why if whether let lets go ahead mind would'd currently moment
today real actually maybe about out off up over s's still yet already any anything something someone somebody one ones
got gonna wanna anyway btw asap immediately straight away up-to-date id'd dear team know love wish bit little quick em
under below above within inside per between via through while during than because per'd lot lots kind sort both
"""
)
"""Words that carry no topic. Some of them (`up`, `which`) also carry a concept; then the concept decides."""

WEAK = _set(
    "show list host now tell see get statistics number everything all whole current name system overview report info"
    " information detail details summary check howmuch look general overall know data value thing"
)
"""Concepts whose presence proves little and whose lack of explanation costs little."""

COURTESY = _set(
    "please pls plz kindly can could would will you hey hi hello ok okay now just mind go ahead and let us lets also"
    " then first so well quickly simply"
)
"""What may stand before the verb of an order."""

QUANTIFIERS = _set("all every everything each any both whole entire none nothing anything everyone")

NEVER_NAMES = QUANTIFIERS | _set(
    "old new previous existing same another other extra recent certain various usual fresh big large small good bad"
    " long short slow fast broken stuck latest newest oldest current running stopped failed dead empty full free"
    " default first last next more most less least many much few several only own real whole main tomorrow tonight"
    " today yesterday later soon thing things stuff it them themselves itself one ones none nothing"
)
"""Words that never name anything, wherever they stand."""

KIND_WORDS = _set("service log script process file folder job queue partition user name host telegram webhook")
"""Concepts that say what kind of thing the word beside them names."""
GENERIC = _set("host service process file folder script log job user message")
"""Concepts of things that are named by another word."""

_COMMON = """
ability able accept access account achieve action active actually add address admin administrator adopt advance advice
afford afternoon age agent ago air alarm album alert alice all allocate allow almost alone always amount analyse
analysis analyze animal annoy another answer anybody api app appear append application apply approve archive area
argument arm arrange arrive article aside ask assign attach attack attempt attend attract audio august author average
avoid awake aware awful baby back background backup bad bag balance ball band bank bar bare base basic bath battle
beach bear beat beautiful become bed beer began behave behind believe belong benefit berlin best bet better big bike
bill bind bird birthday bite black bless blind block blog blow blue board boat bob body boil bomb bone book boot
borrow boss bother bottom bought bowl brain bread break breakfast breath brew bridge bright bring broke broken brother
browser budget bug build built burst bury bus business button buy bye cable cache cake calculate calendar calm camera
camp cancel capable car card care carry case cash cast catch category caught cause cell cent center centre certain
certainly certificate chain chair change channel chapter charge chart chase chat cheap check chess chicken child chmod
choose chown christmas church city claim class clean clear clever click client clinic close clothes cloud cluster
coach coal coast code coffee cold collapse collect college color colour column comfort comment commit common company
compare compile complain complete complex compress computer concern concert condition configuration configure confirm
connect connection consist console constant construct consult contact container contract contribute control
conversation convert convince cook cool corner corporate correct cost cough council count country couple course cover
crazy create credential crime crisis crop cross crowd cry cup currency current curve custom customer customer's cut
daily damage dance danger dark dashboard database date daughter day deaf deal dear debate debt december decide declare
decrease decrypt deep default defend defragment degree delay deliver demand dentist deny depend deploy deployment
deposit derive describe desert design desire desk desktop destroy detach detail detect determine dev develop device
dial dictionary diet difference different dig digital dinner dinosaur direct dirt disconnect discount discover discuss
disease dish dismiss display distance divide divorce doctor dog dollar domain door double doubt download downtime
draft drag draw dream dress drink drive driver drop duck dump dust duty each early earth easy economy edge edit
educate effect effort election electric eliminate else email embed emergency employ empty encourage encrypt enforce
engage engine english enjoy enough ensure enter entire entry environment equal error escalate escape essay essential
establish estimate euro evening event ever everest everybody exact exam example excel exchange excuse exist existing
expand expect expensive experience expert explain explode explore export expose expression extend external extra
extract extreme eye fabric face fact factor fail failure fair fall false family famous fan far farm fashion fast
father fault favorite favour favourite fear feature february fee feed feedback feel felt fence fever few fiction field
fifth fight figure fill film final fine finger finish fire firewall fish fit fix flag flat flavour flight flip float
floor flow flower flush fly focus fold folder follow food foot football force foreign forever forget form format
formula fortune forward fought found frame freedom freeze french frequent fresh friday friend front fruit fuel full
fun function fund funny further future gain game garden gas gate general generate gentle german ghost giant gift girl
git give given glass goal gold gonna good google govern grab grade grand grandmother grant graph grass great green
grocery ground group grow guess guest guide guitar gun habit hack hair half hand handle hang hangs happen happy hard
hardware harm hash hat hate head healthy hear heart heat heavy height helicopter help hero hide high highlight hint
hip hire history hit hold holiday home honest honey hook hope horror horse hospital host hot hotel hour hourly house
hug huge human humour hung hungry hurt husband idea identify ignore illegal illness image imply import important
impress improve incident include income increase index inform infrastructure injury inner innocent inquiry insect
insert inspect inspire install instance instead instruct insurance integrate intend interest internal internet
introduce invent invest invite invoice involve ip iron island issue item january jazz jealous join joke journey joy
judge july jump june jungle junk justice keep kernel key keyboard kick kid kill kiss kitchen knee knife knock know
label lack lake lamp land language laptop large last late latest laugh launch law lay lead leak learn least leave
lecture left leg legal lend length less lesson letter level library license lie life lift light limb limit line link
lip liquid list listen literature live load loan local locate location lock logic login logout lonely long look loose
lose loss lost lottery loud love low luck lunch mad magic mail mailbox main maintenance major male mallory man manage
manager many map march market marry mars mask mass master match mate math maximum mayor meal mean measure meat media
medicine medium meet meeting member mental menu mercy merge mess metal migrate mild milk million mind minimum minister
minute mirror miss mission mistake mix mobile mode model modem modify moment monday money monitor month monthly mood
moon more morning most mother mount mouse mouth movement movie much mug music nail naked name narrow nation nature
navy near neck negative nervous neutral never newest news newspaper nice night nightly node nodes noise noon nor
normal north nose note nothing november nuclear number nurse oak obey object observe obtain obvious occasion occupy
occur ocean october odd offend offer office official oil old oldest open operate operation opinion opponent oppose
optimise optimize option orange order ordinary organize origin other ought outage outside oven overnight owner pack
package page pain painful paint pair palace panic paper parent park parse part partner party pass passphrase password
patch path patient pause pay payment pc peace peer pen penalty pencil pension people percent perfect perform
performance period permission permit person persuade pet philosophy phone photo phrase piano pick picture piece pilot
pin ping pipe pity pizza place plain plan plane planet plant plate platform play player plenty plot plug pocket poem
poet point poison police policy polite pollution pool poor popular population port position possible post pot potato
pour power practice pray predict prefer prepare present preserve president press pretty prevent previous price prime
principle print printer prioritize prison private prize problem procedure prod product production profile profit
program progress project promise promote prompt proof proper propose protect prove province provision pub publish pull
pump punish pupil purchase pure purge purpose pursue push puzzle qa quality quarter question quick quiet quit quote
rabbit race radio railway rain raise random rapid rare rate raw reach react ready realise reality realize reason
reboot rebuild recall receipt receive recent recipe recommend record recover red reduce refer reflect reform refresh
refund refuse regard region register regret regular reinforce reinstall reject relate relation relative relax release
rely remark remind reminder remote renew rent repair repeat replace reply repository represent reputation request
require rescue research reserve reset resist resize resolve resource respect response rest restaurant restore result
resume retire retry return reverse revert review reward rewrite rhythm rich rid ride rifle ring rise risk river road
rob robot rock rocket role roll rollback romantic roof room root rope rotate rough round route router row royal rub
rubbish ruin rule rush sad safe sail salary sale salt same sample sanction sandwich satisfy saturday sauce scale scan
scared scene schedule scheme school science score scratch scream screen screw script sea seal season seat second
secret section secure security seek seem select self sell senate senior sense sentence separate series serious server
session set setting setup several severe sex shade shadow shake shame shape share sharp shave sheet shell shift shine
ship shirt shock shoe shop short shot shoulder shout shower shrink shut shy sick side sight sign signal silence silly
silver similar simple sin since sing single sink sister sit site size skill skin skip skirt sky slave sleep slice
slide slight slip slow small smart smell smile smoke smooth snake snapshot snow soap soccer social soft software soil
soldier solution solve somehow son song sort soul sound soup source south space spare speak special speech speed spell
spend spin spirit spit split spoil sport spot spread spring spy square ssh stable stadium stage staging stair stamp
star stare starve statement station statue stay steady steal steam steel steep stem step stick stiff stock stomach
stone store storm story strange strategy stream street strength stress strike string strip strong struggle stuck
student study stuff stupid style subject submit subscribe substance succeed suck sudden sudo suffer sugar suggest
suicide suit sum summer sun sunday support sure suspect suspend swap swear sweat sweep sweet swim swing switch sword
symbol sync system table tag take talent talk tall tank tap target taste tax taxi tea teach team tear technology
telephone television temperature tend tender tennis tense tension tent terminal territory terror test text thank
theater theme theory therefore thick thin think thirst thousand thread threat throat throw thumb thunder thursday
ticket tidy tie tiger tight till tiny tip tired title tls tobacco toe toilet tomorrow tone tongue tonight tool tooth
top topic total touch tough tour tower town toy trace track trade traffic trail train transfer translate trap travel
treat treaty tree trend trial tribe trick trigger trip trouble truck true trust truth try tube tuesday tune turn tv
twice twin twist type ugly ultimate umount uncle understand uninstall unique unit universe university unless unlock
unmount unzip update upgrade upload upset urban urge urgent url user usual vacation vacuum validate value van various
vary vast vegetable vehicle verify version victim victory video view village violin visit vital voice volume vote
voyage vulnerable wage wait wake walk wall wander want war ward warm warn warning wash waste watch water wave weak
weapon weather web website wedding wednesday week weekend weekly weigh weight weird welcome wet wheat wheel whisper
white whole wide wife wifi wild willing win wind window wine wing winter wipe wireless wise wish withdraw witness
woman won wonder wood wooden wool word work world worry worst worth wound wrap wrist wrong wrote yard year yellow yes
yesterday yield young youth zero zip zone zoom
"""

_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
NUMBERS: Mapping[str, int] = {
    **{word: number for number, word in enumerate(_NUMBERS.split())},
    **{"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "dozen": 12, "thousand": 1000},
}


def _table(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in filter(None, text.splitlines()):
        concept, _, words = line.partition(": ")
        for word in words.split():
            found[word] = tuple(dict.fromkeys((*found.get(word, ()), concept)))
    return found


def _phrases(text: str) -> dict[tuple[str, ...], str]:
    pairs = (line.partition(": ") for line in filter(None, text.splitlines()))
    return {tuple(phrase.split()): concept for phrase, _, concept in pairs}


def _related(text: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for line in filter(None, text.splitlines()):
        one, other, weight = line.split()
        found.setdefault(one, {})[other] = float(weight)
        found.setdefault(other, {})[one] = float(weight)
    return found


SYNONYMS: Mapping[str, tuple[str, ...]] = _table(_SYNONYMS)
"""Word -> concepts it may stand for, the likeliest first."""
PHRASES: Mapping[tuple[str, ...], str] = _phrases(_PHRASES)
"""Words in a row -> concept."""
SEPARABLE: Mapping[tuple[str, ...], str] = _phrases(_SEPARABLE)
"""Verb and particle with something between them (`take nginx down`) -> concept."""
RELATED: Mapping[str, Mapping[str, float]] = _related(_RELATED)
"""Concept -> concepts that half stand for it."""
COMMON = _set(_COMMON)
"""Ordinary words: a name only where the sentence clearly makes them one (`the payment service`)."""
