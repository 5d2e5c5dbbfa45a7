"""A document -> small batches of its sentences, the last with its end."""

from collections.abc import Iterator

from pipelines.embed.batch import DocumentEnd, PartEnd, PartId, PartRecord, Sentence, SentenceBatch
from pipelines.reading.documents import TOKENIZE, Document, Reject, raw_start
from pipelines.text.tokenizer import PretokenizedText, TokenizedSentence, Tokenizer
from schemas.tables import MAX_PART_ROWS


def tokenize_record(
    record: PartRecord, tokenizer: Tokenizer | PretokenizedText, max_tokens: int
) -> Iterator[SentenceBatch]:
    """Yield the batches of a document; of a reject, or the mark of the part's end, one without."""
    if isinstance(record.record, Document):
        yield from tokenize_document(record.part, record.record, tokenizer, max_tokens)
    elif isinstance(record.record, PartEnd):
        yield SentenceBatch(record.part, last=record.record)
    else:
        yield SentenceBatch(record.part, rejects=[record.record])


def tokenize_document(
    part: PartId, document: Document, tokenizer: Tokenizer | PretokenizedText, max_tokens: int
) -> Iterator[SentenceBatch]:
    """Yield the sentences of a document in batches of at most `max_tokens`, the last with its end.

    A document that the tokenizer fails on, or that has more tokens than a part may have, gives a
    last batch with a reject instead of an end.
    """
    if len(document.text) > MAX_PART_ROWS and _has_too_many_tokens(document, tokenizer):
        detail = f"the text has more than {MAX_PART_ROWS} tokens; split the document"
        yield SentenceBatch(part, rejects=[_document_reject(document, "too-large", detail)])
        return
    batch = SentenceBatch(part)
    n_sentences = n_tokens = in_batch = 0
    try:
        for found in tokenizer.sentences(document.text):
            if batch.sentences and in_batch + len(found.tokens) > max_tokens:
                yield batch
                batch, in_batch = SentenceBatch(part), 0
            batch.sentences.append(_sentence(document, n_sentences, found))
            n_sentences += 1
            in_batch += len(found.tokens)
            n_tokens += len(found.tokens)
    except Exception as error:  # whatever a tokenizer raises is this document's
        if n_sentences > len(batch.sentences):
            raise RuntimeError(
                f"tokenizing {document.doc_id!r} failed half-way: {error}"
            ) from error
        detail = raw_start(f"the tokenizer failed: {error!r}")
        yield SentenceBatch(part, rejects=[_document_reject(document, "tokenizer-failed", detail)])
        return
    batch.ends.append(
        DocumentEnd(
            document.doc_id,
            document.sha256,
            document.uri,
            document.position,
            document.metadata,
            len(document.text),
            n_sentences,
            n_tokens,
        )
    )
    yield batch


def _has_too_many_tokens(document: Document, tokenizer: Tokenizer | PretokenizedText) -> bool:
    """Count the tokens of a very long text, before any of them is on its way."""
    count = 0
    try:
        for found in tokenizer.sentences(document.text):
            count += len(found.tokens)
            if count > MAX_PART_ROWS:
                return True
    except Exception:  # said by the pass that follows
        return False
    return False


def _sentence(document: Document, index: int, found: TokenizedSentence) -> Sentence:
    return Sentence(
        document.doc_id,
        index,
        found.start,
        found.end,
        document.text[found.start : found.end],
        found.tokens,
        found.token_starts,
        found.cut,
        document.uri,
        document.position,
    )


def _document_reject(document: Document, reason: str, detail: str) -> Reject:
    return Reject(
        document.uri,
        document.position,
        TOKENIZE,
        reason,
        detail,
        document.doc_id,
        None,
        raw_start(document.text),
    )
