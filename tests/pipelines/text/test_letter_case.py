"""Documents without capitals."""

import pytest

from pipelines.text.letter_case import is_uncased
from pipelines.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("text", "uncased"),
    [
        ("went fishing today. sat on the bank all morning. then lunch.", True),
        ("so I went home. then I slept. it was late.", True),
        ("went to Paris. then home.", True),
        ("Is it? it is.", False),
        ("the U.S. President came. ok", False),
        ("He left. She stayed.", False),
        ("see fig. 1 here", False),
        ("", False),
        ("银行。河岸。", False),
        ("HE LEFT. SHE STAYED.", False),
        ("Anna: so i left. it was late.\nBen: ok. and then. did you call Maria?", True),
        ("[10:32] Anna Smith: hey. are you there?\n[10:33] BEN: yes. at the bank.", True),
        ("12/03/2021, 10:32 - Anna: hey. are you there?\n12/03/2021, 10:33 - Ben: no. bye", True),
        ("Dr. Smith (host): welcome. today we talk.\nGuest: thanks. it is a pleasure.", True),
        ("Q: were you there? at the bank?\nA: yes. i was.", True),
        ("<anna> hi. i was there.\n<ben> oh. ok. bye", True),
        ("Went fishing today. sat on the bank all morning. then lunch.", True),
        ("I went fishing today. I sat on the bank all morning. then lunch.", True),
        ("so i met Maria in Rome. she took me to the Vatican. it was closed. John came.", True),
        ("Hi Tom. I was there. it was shut. so I left. Then I met Anna. we talked. see you.", True),
        ("omg!!! the bank is closed!! what now?? idk. lol", True),
        ("ging heute angeln. saß am Ufer. die Bank war zu. dann Mittagessen.", True),
        ("я пошел в банк. он был закрыт. потом я ушел.", True),
        ("The temp. was approx. five. He left.", False),
        ("Alas! what shall I do? he cried.", False),
        ("“Where to?” he said. “Home!” she said. “Now?” he asked.", False),
        ("Er las die Zs. f. Psych. in Rom.", False),
        ("We met (see p. 5) at the Intl. bank of the dept. in Rome. She left.", False),
    ],
)
def test_a_document_without_capitals_is_known(text: str, uncased: bool) -> None:
    assert is_uncased(text, {"fig", "approx", "temp"}.__contains__) is uncased


def test_its_sentences_end_before_small_letters() -> None:
    text = "went to the u.s. and back. was that it? no... it was not. see e.g. the bank. he left."
    found = [text[s.start : s.end] for s in Tokenizer("en").tokenize(text)]
    assert found == [
        "went to the u.s. and back.",
        "was that it?",
        "no... it was not.",
        "see e.g. the bank.",
        "he left.",
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("hey!! how are you?? fine... u? ok.", ["hey!!", "how are you??", "fine... u?", "ok."]),
        ("we went to the bank.then we left.", ["we went to the bank.", "then we left."]),
        ("see www.bank.com. it is node.js. ok.", ["see www.bank.com.", "it is node.js.", "ok."]),
        ("read no. 5 today. it is vol. 3. fig. 2 shows it.",
         ["read no. 5 today.", "it is vol. 3.", "fig. 2 shows it."]),
        ("it is at 5 p.m. we go. then lunch at 1 a.m. or so.",
         ["it is at 5 p.m.", "we go.", "then lunch at 1 a.m. or so."]),
        ("ANNA: hey. are you there?\nBEN: yes. it was closed.",
         ["ANNA: hey.", "are you there?", "BEN: yes.", "it was closed."]),
        (">> so we went. then what. >> i left. it was late.",
         ["so we went.", "then what.", ">> i left.", "it was late."]),
    ],
)  # fmt: skip
def test_chats_and_transcripts_are_split(text: str, sentences: list[str]) -> None:
    assert [text[s.start : s.end] for s in Tokenizer("en").tokenize(text)] == sentences
