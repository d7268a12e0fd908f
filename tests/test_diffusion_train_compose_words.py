"""The English of compositions: colours in names, articles and plurals of the committed list."""

import numpy as np
import pytest

from diffusion.train.compose import words
from diffusion.train.compose.colours import HUES, ComposeError
from diffusion.train.compose.composition import Relation
from diffusion.train.compose.phrases import count_phrase, pair_phrase, sample_pair_phrase
from diffusion.train.data import known_names

LEFT_OUT = {
    *("paw prints", "fire", "high voltage", "grapes", "cherries", "broccoli", "bread", "cooking"),
    *("french fries", "sushi", "tennis", "glasses", "locked", "hourglass done", "books", "eyes"),
    "thumbs up",
}
# Every plural of the committed list that is not the name with an "s" at its end.
UNUSUAL = {
    "beaming face with smiling eyes": "beaming faces with smiling eyes",
    "face with tears of joy": "faces with tears of joy",
    "smiling face with heart-eyes": "smiling faces with heart-eyes",
    "smiling face with sunglasses": "smiling faces with sunglasses",
    "face with tongue": "faces with tongue",
    "smiling face with halo": "smiling faces with halo",
    "smiling face with horns": "smiling faces with horns",
    "face with open mouth": "faces with open mouth",
    "face with medical mask": "faces with medical mask",
    "pile of poo": "piles of poo",
    "cat face": "cats",
    "dog face": "dogs",
    "mouse face": "mice",
    "rabbit face": "rabbits",
    "fox": "foxes",
    "tiger face": "tigers",
    "cow face": "cows",
    "pig face": "pigs",
    "monkey face": "monkeys",
    "horse face": "horses",
    "wolf": "wolves",
    "fish": "fish",
    "tropical fish": "tropical fish",
    "blowfish": "blowfish",
    "octopus": "octopuses",
    "shrimp": "shrimp",
    "butterfly": "butterflies",
    "dragon face": "dragons",
    "hibiscus": "hibiscuses",
    "cactus": "cacti",
    "maple leaf": "maple leaves",
    "sun with face": "suns with face",
    "cloud with rain": "clouds with rain",
    "snowman": "snowmen",
    "snowman without snow": "snowmen without snow",
    "globe showing americas": "globes showing americas",
    "volcano": "volcanoes",
    "strawberry": "strawberries",
    "peach": "peaches",
    "tomato": "tomatoes",
    "ear of corn": "ears of corn",
    "potato": "potatoes",
    "candy": "candies",
    "glass of milk": "glasses of milk",
    "wine glass": "wine glasses",
    "bus": "buses",
    "trophy": "trophies",
    "umbrella with rain drops": "umbrellas with rain drops",
    "game die": "game dice",
}
AN = {
    *("alien", "alien monster", "ogre", "orange heart", "owl", "octopus", "eagle", "elephant"),
    *("evergreen tree", "avocado", "ear of corn", "eggplant", "egg", "ice cream", "automobile"),
    *("airplane", "umbrella", "umbrella with rain drops", "alarm clock", "envelope", "eye"),
    *("artist palette", "exploding head", "enraged face"),
}


def test_names_that_cannot_be_counted_are_exactly_these() -> None:
    assert {name for name in known_names() if not words.is_countable(name)} == LEFT_OUT
    assert not words.is_countable("flying carpet")  # in no committed list
    for name in (*LEFT_OUT, "flying carpet"):
        with pytest.raises(ComposeError, match="no plural"):
            words.plural(name)


def test_every_plural_of_the_committed_list() -> None:
    countable = [name for name in known_names() if words.is_countable(name)]
    assert len(countable) == len(known_names()) - len(LEFT_OUT)
    assert set(UNUSUAL) <= set(countable)
    for name in countable:
        assert words.plural(name) == UNUSUAL.get(name, name + "s")


@pytest.mark.parametrize(
    ("word", "several"),
    [
        *(("knife", "knives"), ("person", "people"), ("foot", "feet"), ("toy", "toys")),
        *(("brush", "brushes"), ("bench", "benches"), ("policeman", "policemen"), ("ox", "oxen")),
        ("box", "boxes"),
    ],
)
def test_words_that_other_lists_bring(word: str, several: str) -> None:
    assert words._plural_word(word) == several


def test_articles_of_the_committed_list() -> None:
    for name in known_names():
        if name in LEFT_OUT:
            assert words.with_article(name) == name
        else:
            article = "an" if name in AN else "a"
            assert words.with_article(name) == f"{article} {words.spoken(name)}"
    assert words.with_article("unicorn") == "a unicorn"
    assert words.with_article("ewe") == "a ewe"
    assert words.with_article("pizza", "orange pizza") == "an orange pizza"
    assert words.with_article("bread", "orange bread") == "orange bread"
    assert words.with_article("person running") == "person running"


def test_the_colour_of_a_name_is_replaced_and_none_is_added_twice() -> None:
    assert words.coloured("red heart", "blue") == "blue heart"
    assert words.coloured("light blue heart", "red") == "red heart"
    assert words.coloured("large blue diamond", "green") == "large green diamond"
    assert words.coloured("grey heart", "teal") == "teal heart"
    assert words.coloured("pizza", "purple") == "purple pizza"
    assert words.coloured("cat face", "purple") == "purple cat"
    assert words.coloured("orange", "blue") == "blue orange"
    assert words.coloured("leafy green", "pink") == "pink leafy green"
    assert words.coloured("light bulb", "green") == "green light bulb"
    with pytest.raises(ComposeError, match="beige"):
        words.coloured("pizza", "beige")
    colours = {colour.name for colour in HUES}
    for name in known_names():
        for colour in sorted(colours):
            said = words.coloured(name, colour).split()
            assert [word for word in said if word in colours] == [colour]


def test_nouns_forget_colours_and_the_word_face_of_animals() -> None:
    assert words.noun("red apple") == words.noun("green apple") == "apple"
    assert words.noun("black cat") == words.noun("cat face") == "cat"
    assert words.noun("smiling face") == "smiling face"
    assert words.split_colour("orange") == (None, "orange")


def test_every_known_name_with_a_hue_is_in_the_constant() -> None:
    hues = {colour.name for colour in HUES}
    named = {name for name in known_names() if words.split_colour(name)[0] in hues}
    assert named <= words.COLOURED_NAMES
    assert len(words.coloured_nouns()) == len(words.COLOURED_NAMES)
    assert ("blue", "heart") in words.coloured_nouns()
    assert ("purple", "apple") not in words.coloured_nouns()


def test_count_phrases() -> None:
    assert count_phrase(3, "strawberry") == "three strawberries"
    assert count_phrase(2, "red apple") == "two red apples"
    assert count_phrase(4, "mouse face") == "four mice"
    with pytest.raises(ComposeError, match="no word for 5"):
        count_phrase(5, "pizza")


def test_pair_phrases_say_what_the_layout_shows() -> None:
    assert pair_phrase("cat face", "pizza", Relation.BESIDE) == "a cat next to a pizza"
    assert pair_phrase("star", "house", Relation.STACKED) == "a star above a house"
    rng = np.random.default_rng(0)

    def drawn(relation: Relation) -> set[str]:
        return {sample_pair_phrase("star", "ogre", relation, rng) for _ in range(300)}

    both = {"a star and an ogre", "an ogre and a star", "star and ogre", "ogre and star"}
    assert drawn(Relation.BESIDE) == both | {
        *("a star next to an ogre", "an ogre next to a star"),
        *("star next to ogre", "ogre next to star"),
    }
    assert drawn(Relation.STACKED) == both | {
        *("a star above an ogre", "an ogre below a star"),
        *("star above ogre", "ogre below star"),
    }
