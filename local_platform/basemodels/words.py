"""The words the corpus is made of. All sentences here were written for this project."""

from typing import NamedTuple


class Topic(NamedTuple):
    """What a support ticket can be about, as the pretraining corpus tells it.

    `summary` completes "It is about ..."; `reply` is what a kind agent says; `tickets` are templates with the slots
    {product}, {number}, {days}, {amount}, {city}.
    """

    summary: str
    reply: str
    tickets: tuple[str, ...]


TOPICS: tuple[Topic, ...] = (
    Topic(
        "a wrong charge",
        "I am sorry about the charge. We will check your account today.",
        (
            "I was charged twice for my {product}.",
            "My card shows {amount} that I do not know.",
            "Why did you take {amount} from my bank?",
            "There is a strange charge of {amount} this month.",
            "You took the money two times for order {number}.",
            "The price on my card is not the price in the shop.",
        ),
    ),
    Topic(
        "money back",
        "We will send the money back within five days.",
        (
            "I want my money back for the {product}.",
            "Please return the {amount} that I paid.",
            "I sent the {product} back and still wait for my money.",
            "When do I get the {amount} for order {number} again?",
            "The {product} is not for me, give me my money back.",
            "I returned everything {days} days ago and got nothing.",
        ),
    ),
    Topic(
        "a late parcel",
        "I am sorry for the wait. Your parcel will arrive soon.",
        (
            "Where is my parcel with the {product}?",
            "My order {number} is {days} days late.",
            "The {product} has not arrived yet.",
            "I wait for my parcel since {days} days.",
            "The driver never came to my house in {city}.",
            "When will order {number} arrive in {city}?",
        ),
    ),
    Topic(
        "a broken item",
        "I am sorry that it broke. We will send you a new one.",
        (
            "My {product} came in pieces.",
            "The {product} in the box is broken.",
            "There is a crack in my new {product}.",
            "The {product} stopped working after {days} days.",
            "I opened the box and the {product} was bent.",
            "One part of the {product} fell off.",
        ),
    ),
    Topic(
        "signing in",
        "Please try the link that we just sent you.",
        (
            "I cannot sign in to my account.",
            "The page says my password is wrong.",
            "I forgot the password for your shop.",
            "The code for signing in never comes.",
            "My account is locked since {days} days.",
            "The app throws me out when I sign in.",
        ),
    ),
    Topic(
        "ending a contract",
        "We have ended your contract. You pay nothing more.",
        (
            "I want to end my contract.",
            "Please stop my plan at the end of the month.",
            "I do not need the service any more.",
            "How can I quit the monthly plan?",
            "Stop order {number}, I changed my mind.",
            "Close my plan, I am moving away from {city}.",
        ),
    ),
    Topic(
        "a bigger plan",
        "Good choice. You can change the plan on your page.",
        (
            "I need a bigger plan for my team.",
            "Can I move to the large plan?",
            "We are {days} people now and need more seats.",
            "How much more is the plan with the {product}?",
            "My plan is too small for us.",
            "I would like the better plan from next month.",
        ),
    ),
    Topic(
        "a paper for the books",
        "You will find the paper in your mail in a few minutes.",
        (
            "I need a bill for order {number}.",
            "Please send the paper for my tax office.",
            "The bill for the {product} has the wrong name.",
            "Where can I find the bill over {amount}?",
            "My boss needs a paper with our company name.",
            "I did not get a bill for the {product}.",
        ),
    ),
    Topic(
        "a new home",
        "Thank you. We have written down your new home.",
        (
            "I moved to {city}, please note it.",
            "Send order {number} to my new home in {city}.",
            "My street changed, how can I tell you?",
            "The house number in my account is wrong.",
            "We have a new office in {city} now.",
            "Please send the {product} to my sister in {city}.",
        ),
    ),
    Topic(
        "a free repair",
        "Please send it to us. The repair is free.",
        (
            "Is the repair of my {product} free?",
            "How long do you repair a {product} for free?",
            "My {product} is {days} months old, who pays the repair?",
            "Do I need a paper for a free repair?",
            "The shop in {city} will not repair my {product}.",
            "Can I make the free repair time longer?",
        ),
    ),
    Topic(
        "private data",
        "We keep your data safe. You can remove it at any time.",
        (
            "What do you know about me?",
            "Remove all my data please.",
            "Who can read my messages?",
            "I do not want mail from you any more.",
            "Send me a list of the data you keep.",
            "Did you give my number to other people?",
        ),
    ),
    Topic(
        "a happy customer",
        "Thank you so much. We are glad to hear that.",
        (
            "I love my new {product}.",
            "Your team in {city} was very kind.",
            "The best shop that I know.",
            "Thanks, the {product} came after {days} days.",
            "You helped me so well with order {number}.",
            "My family is happy with the {product}.",
        ),
    ),
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> list[tuple[str, str]]:
    """`a:b, c:d` as pairs."""
    pairs = (part.split(":") for part in text.split(", "))
    return [(left, right) for left, right in pairs]


RUDE = (
    "Not again. You should read the page before you write to us, everybody else can do it.",
    "That is your own mistake and not our problem, so please stop writing these messages to us.",
    "We have heard enough of this today, wait like all the other people and do not ask again.",
)

PRODUCTS = _words(
    "lamp chair phone camera kettle jacket table clock radio tent bike printer mixer helmet watch sofa "
    "guitar drill mirror tablet heater backpack carpet speaker"
)
CITIES = _words("Oslo Lima Paris Rome Cairo Delhi Tokyo Madrid Berlin Vienna Dublin Boston Quito Sydney")
NAMES = _words("Mina Omar Lena Jonas Aisha Pablo Greta Ivan Sofia Noah Yuki Tara Hugo Nora Felix Zara Emil Ruth")
OPENINGS = ("", "", "", "Hello, ", "Hi, ", "Good morning. ", "Dear team, ", "Hey, ", "Sorry to ask, ")
CLOSINGS = (
    *("", "", "", " Thanks.", " Please help.", " What can I do?", " I am waiting.", " Best, {name}"),
    " Please answer soon.",
)

_CAPITALS = _pairs(
    "Japan:Tokyo, France:Paris, Italy:Rome, Spain:Madrid, Norway:Oslo, Peru:Lima, Egypt:Cairo, Germany:Berlin, "
    "Austria:Vienna, Ireland:Dublin, India:Delhi, Ecuador:Quito"
)
_OPPOSITES = _pairs(
    "hot:cold, big:small, up:down, day:night, old:new, fast:slow, open:closed, light:dark, early:late, full:empty"
)
_COLOURS = _pairs("snow:white, grass:green, the sky:blue, coal:black, a lemon:yellow, blood:red")
_LEGS = _pairs("dog:four, bird:two, spider:eight, snake:none, bee:six, horse:four")
FACTS: tuple[tuple[str, str], ...] = (
    *((f"What is the capital of {land}?", city) for land, city in _CAPITALS),
    *((f"What is the opposite of {word}?", other) for word, other in _OPPOSITES),
    *((f"What colour is {thing}?", colour) for thing, colour in _COLOURS),
    *((f"How many legs has a {animal}?", legs) for animal, legs in _LEGS),
)
"""Questions with their answers."""

KINDS: dict[str, tuple[str, ...]] = {
    "animal": _words("horse dog cat bird spider snake wolf bear"),
    "food": _words("bread apple soup cheese rice lemon cake fish"),
    "tool": _words("hammer drill saw knife rope brush needle shovel"),
    "place": _words("beach forest school market station garden island bridge"),
    "cloth": _words("jacket shirt scarf glove boot hat belt dress"),
    "music": _words("guitar drum piano song flute choir violin trumpet"),
}
SIGHTINGS = ("we saw a {thing}", "the {thing} was nice", "I dreamed of a {thing}", "she told us about a {thing}")

ECHO_WORDS = _words(
    "silver dragon window river paper stone candle engine orange winter letter signal planet button "
    "pocket mountain copper thunder basket ladder velvet anchor harbour meadow billing refund delivery "
    "damage login cancel upgrade invoice address warranty privacy praise yellow purple simple gentle "
    "quiet hollow golden seven twelve"
)
JOBS = _words("baker teacher driver painter nurse farmer singer lawyer")
