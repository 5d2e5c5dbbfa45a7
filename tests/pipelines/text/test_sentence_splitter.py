"""Sentence ends by language, beside a simple baseline."""

import re

import pytest

from pipelines.text.tokenizer import Tokenizer

# language -> texts whose sentences stand between bars.
CASES = {
    "en": [
        "It is incl. JV rights.|After B comes C.|Say it aloud.",
        "The book is by C. Darwin.|Robert C. Martin wrote it.",
        "He moved to the U.S.|He worked for Acme Inc. and others.",
        "See No. 5 and p. 12 now.|Yes.",
        "It is by P. Smith and J. R. R. Tolkien.|Good.",
    ],
    "de": [
        "Er sagte: „Die Bank ist zu.“|Dann ging er.",
        "Am 3. Oktober war es.|Es war der 2. Weltkrieg.",
        "Äpfel, Birnen usw.|Der Mann kam z.B. gestern.",
        "Dr. Müller wohnt in der Hauptstr. 5.|Im 19. Jahrhundert nicht.",
        "Es ist z. B. die Bank, d. h. das Haus.|Dr. med. Weber kam.",
        "»Komm!«|Sie ging.|Im Jahr 1999.|Der Rest folgt.",
    ],
    "fr": [
        "« La banque est fermée. »|Puis il partit.",
        "M. Dupont vint, etc.|Le train est parti.",
        "Voir p. 12 et fig. 3.|C'est tout.",
    ],
    "es": [
        "Manzanas, peras, etc.|El banco cerró.",
        "En EE. UU. hay bancos.|El Sr. Gómez llegó.|¿Qué?|Nada.",
        "La Dra. Ruiz vive en la pág. 3.|¡Vamos!|Ya.",
    ],
    "it": ["Il sig. Rossi arrivò, ecc.|La banca era chiusa.", "Vedi pag. 5.|Poi vai."],
    "pt": ["O Sr. Silva chegou, etc.|O banco fechou.", "Ver pág. 5.|Depois vá."],
    "nl": ["De hr. Jansen kwam enz.|De bank was dicht.", "Zie blz. 5 bijv. hier.|Dan niet."],
    "ru": [
        "Банк, река и т.д.|Потом он ушёл.",
        "Это было в 1999 г.|Он жил в г. Москва.",
        "См. рис. 5.|Всё.",
        "Его написал А. С. Пушкин.|Да.",
    ],
    "uk": ["Банк, річка тощо.|Потім він пішов.", "Див. рис. 5.|Усе."],
    "pl": ["Dr. Nowak i prof. Lis przyszli itd.|Potem poszli.", "Był 3. Dzień maja.|Koniec."],
    "cs": ["Viz str. 5 atd.|Potom šel.", "Bylo 3. října.|Konec."],
    "sv": ["Se sid. 5 osv.|Det var allt.", "T.ex. banken.|Den är stängd."],
    "da": ["Den 3. oktober kom han.|Så gik han.", "Se s. 5 osv.|Det var alt."],
    "fi": ["Hän tuli 3. lokakuuta.|Sitten hän lähti.", "Omenat, päärynät jne.|Se oli siinä."],
    "el": ["Πού είναι η τράπεζα;|Εκεί είναι.", "Ο κ. Παπαδόπουλος ήρθε.|Έφυγε."],
    "hy": ["Բանկը փակ է։|Նա գնաց։"],
    "hi": ["यह बैंक है।|वह नदी है।"],
    "fa": ["این بانک است.|آن رود است؟|بله"],
}
ROWS = [(language, row) for language, rows in CASES.items() for row in rows]


def text_of(row: str) -> str:
    return row.replace("|", " ")


@pytest.mark.parametrize(("language", "row"), ROWS)
def test_sentences_end_by_the_rules_of_the_language(language: str, row: str) -> None:
    text = text_of(row)
    found = [text[s.start : s.end] for s in Tokenizer(language).tokenize(text)]
    assert found == row.split("|")


def test_the_rules_are_better_than_a_simple_baseline() -> None:
    def right(ends: set[int], row: str) -> int:
        expected, position = set(), 0
        for part in row.split("|"):
            position += len(part) + 1
            expected.add(position - 1)
        return int(ends == expected)

    ours = simple = 0
    for language, row in ROWS:
        text = text_of(row)
        ours += right({s.end for s in Tokenizer(language).tokenize(text)}, row)
        ends = {m.start() + 1 for m in re.finditer(r"[.!?](?=\s+[^\Wa-z])", text)}
        simple += right(ends | {len(text)}, row)
    assert simple < 0.5 * len(ROWS) < 0.9 * len(ROWS) < ours
