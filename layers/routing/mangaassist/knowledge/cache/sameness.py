"""When two questions are the same: pure, and on the side of saying no.

A question is reduced to what it asks: names of works stand for the works, words of one meaning for that meaning,
politeness and a few particles for nothing; numbers, negations, comparisons and every word not known here stay as they
are. Only questions that reduce to the same may share an answer, whatever their vectors say. So a near miss (volume 3
and 4, recommended and not recommended) cannot hit, and what is lost is only the price of a model call.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from mangaassist.knowledge import spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mangaassist.routing.question import Question

MOST_CHARACTERS = 160  # a longer question is nobody else's

_NOT = "(?!な|ま[せし]|く|ん|ず|ぬ)"  # what follows would deny it
_JAPANESE = (  # longest first where one begins another; hiragana, as folded text is
    ("", r"(すみません|すいません)(が)?|えっと|ちょっと聞きたい(ん|の)?(です)?(けど|が)?"),
    (
        "",
        r"(を|は|って|について|が)?(教えて|おしえて)(ください|下さい|くれ(る|ます|ない)?|ほしい|欲しい|もらえ(ます|る)?)?(です|か)*",
    ),
    ("", r"(が|を)?(知りたい|しりたい)(ん)?(です)?"),
    ("", r"(を)?(お願い|おねがい)(し|いたし|致し)?(ます)?"),
    (
        "<similar>",
        rf"(と|に)?(似た|似てる|似ている|にてる|にた)(ような|感じの)?{_NOT}|みたいな|のような|っぽい{_NOT}|に近い{_NOT}",
    ),
    ("<recommend>", r"(が|を|は)?(お勧め|お薦め|おすすめ)(な|の)?(を|は)?"),
    ("<completed>", r"完結済み?(み)?(の)?|完結した|完結して(い)?る|完結して(い)?ます|完結"),
    ("<ongoing>", r"連載中(の)?|連載して(い)?る"),
    (
        "<price>",
        r"((の)?(値段|ねだん|価格|お値段)(は|って)?)?(いくら|おいくら|何円|なん円)(です|ます|し|か|する)*|値段|ねだん|価格",
    ),
    (
        "<author>",
        r"(作者|著者|作家|漫画家|原作者)(は|って)?(誰|だれ)?(です|なの|か)*|(誰|だれ)が(描い|書い|かい)(た|て(い)?る)(の|ん)?(です)?",
    ),
    ("<stock>", r"在庫(は|が|って)?(あり|ある|ござい)?(ます)?"),
    ("<latest>", r"最新(刊|巻)|一番新しい巻"),
    ("<work>", r"まんが|漫画|こみっくす?|作品|しりーず"),
    ("<synopsis>", r"あらすじ|粗筋|どんな(話|はなし|お話|すとーりー|ないよう|内容)"),
    ("全", r"全部で|ぜんぶで"),
    ("まで", r"まで(出て(い)?(る|ます)|でて(い)?(る|ます)|刊行されて(い)?(る|ます))"),
    ("面白い", r"おもしろい"),
    ("怖い", r"こわい"),
    ("泣ける", r"なける"),
    ("", r"(は|って|とは)?(何|なん|なに)?(でしょう|ですか|ですかね|なんですか|なの)"),
    ("", r"(が|は|って)?(ありますでしょう|あります|ある|ございます|あるの|あるん)(か|かな|です)*(?=[?。!\s]|$)"),
    ("", r"(です|ます)?(か|ね|よ|かね|かな)?(?=[?。!\s]|$)"),
    ("", r"って|は|の|、|・"),
)
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ENGLISH = (
    ("", r"(can|could|would|will) you (please )?|please|pls|thanks|thank you|hi|hello|hey|excuse me|just wondering|s"),
    ("", r"(tell|give|show|find|get) (me|us)|let me know|i (want|need|would like|d like) to know|help me find"),
    ("", r"(i m|i am|im)? ?looking for|i (want|need)|i (would|d) like|i wanna (read|buy)|in search of"),
    ("<stock>", r"(do|have) you (have|got|sell|carry|stock)|in stock|available"),
    ("", r"(is|are) there|are|is|am|was|were|be|does|do|did|the|a|an|of|some|any|it s|that s"),
    ("<price>", r"how much (does|do|is|are|for|would)?.{0,0}( cost)?|prices?|costs?|pric(ed|ing)"),
    (
        "<author>",
        r"who (wrote|drew|created|writes|draws|made)|who( is| s)? the (author|writer|mangaka|creator)"
        r"|authors?|mangakas?",
    ),
    ("<recommend>", r"recommend( me|ation|ations|ed|s)?|suggest(ion|ions|ed|s)?|recs?"),
    ("<similar>", r"(that (are|is) )?similar to|along the lines of|like|similar"),
    ("<completed>", r"(already )?(completed|complete|finished|ended)"),
    ("<ongoing>", r"(still )?(ongoing|running|being published)"),
    ("<synopsis>", r"(what s|what is) .{0,0}about|plot|synopsis|story|summary"),
    ("<work>", r"manga( series)?|mangas|comics?|series|titles?|books?|works?"),
    ("volume", r"volumes?|vols?"),
    ("<latest>", r"latest|newest|most recent"),
    ("", r"what|what s"),
    *((str(number), word) for number, word in enumerate(_NUMBER_WORDS)),
)
_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")}
_COUNTED = re.compile(r"第?([〇一二三四五六七八九十百]+)(?=(巻|冊|円|年|歳|才|話|位|作目|月|日|人|部))|第(?=\d)")
_REST = re.compile(r"\x01[^\x02]*\x02|<[a-z]+>|[a-z0-9]+(?:'[a-z]+)?|[^\s?!。.,;:\"“”'()「」『』<>\x01\x02-]+")
_SPLIT_APOSTROPHE = re.compile(r"(?<=[a-z])'(?=(s|m|d|re|ve|ll)\b)")

_PERSONAL = re.compile(
    r"私|わたし|俺|おれは|僕|ぼくは|自分|うちの|(我|わ)が(家|社)|娘|息子|妻|夫|彼女|彼氏|友達|友だち|先生に|誕生日|@|\d{5,}|\d{2,4}-\d{2,4}-\d{3,4}"
    r"|注文|購入履歴|会員|ぽいんと|住所|電話|めーる|配送|届|返品|支払|かーど|くーぽん"
    r"|\b(my|mine|our|ours|me|we|us|son|daughter|wife|husband|girlfriend|boyfriend|friend|order|account|address|password"
    r"|e-?mail|delivery|refund|return|coupon|loyalty)\b"
    r"|\bi (am(?! looking for)|have|had|bought|own|read|was|live|work|ordered)\b"
)
_OF_THE_MOMENT = re.compile(
    r"さっき|先ほど|前回|上の|それ|その|これ|この|あれ|あの(?!頃|日)|彼|続き|他に|ほかに|他の|ほかの|別の|もっと|今日|明日|昨日|今週|来週|先週|今月|来月"
    r"|今年|来年|(?<!昭和)(?<!現)今(?=[^日]|$)|現在|最近|もう一度|同じ"
    r"|\b(this|that(?! (is|are)\b)|these|those|it|they|them|he|she|his|her|their|another|else|others?|again"
    r"|previous|above|earlier|same|more|today|tonight|tomorrow|yesterday|now|currently|recently"
    r"|(next|last) (week|month|year)|so far|upcoming|soon)\b"
)


def is_keepable(question: Question) -> bool:
    """Whether a question is nobody's in particular: about the catalogue, not the shopper, the session or the moment.

    Such a question alone may be answered from, or kept in, the answers that all shoppers share.
    """
    if question.service or not (question.catalogue or question.works) or len(question.text) > MOST_CHARACTERS:
        return False
    bare = _ready(_named(question, spelling.folded(question.text))[0])
    return not (_PERSONAL.search(bare) or _OF_THE_MOMENT.search(bare))


def reduced(question: Question) -> tuple[str, ...]:
    """What a question asks, as the words that two wordings of one question share.

    Their order counts where it may tell who is compared with whom: with several names or numbers.
    """
    bare, works = _named(question, spelling.folded(question.text))
    text = _ready(bare)
    text = _COUNTED.sub(lambda match: str(_number(match[1])) if match[1] else "", text)
    text = _ENGLISH_WORDS.sub(_meaning, text)
    text = _JAPANESE_WORDS.sub(_meaning, text)
    words = tuple(_without_repeats([works.get(word, word) for word in _REST.findall(text)]))
    names = sum(word in works.values() for word in words)
    numbers = sum(word[0].isdigit() for word in words)
    return words if names > 1 or numbers > 1 else tuple(_without_repeats(sorted(words)))


def digest(parts: Sequence[str]) -> str:
    """A short name for a sequence of words."""
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of unit length."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def _ready(folded: str) -> str:
    """Folded text with the apostrophes of English split off, as the patterns expect it."""
    return _SPLIT_APOSTROPHE.sub(" ", spelling.folded(folded).replace("’", "'"))


def _named(question: Question, folded: str) -> tuple[str, dict[str, str]]:
    """The text with a mark in the place of every name, and the works or the author's works that each mark means."""
    places = spelling.places(folded)
    meanings: dict[str, str] = {}
    text, at = "", 0
    for span in question.spans:
        start, end = places[span.first][0] + span.start, places[span.last][0] + span.end
        if start < at:  # within the name before it
            continue
        mark = f"\x01{len(meanings):02}\x02"
        meanings[mark] = f"{'by' if span.author else 'titled'} {','.join(span.works)}"
        text, at = text + folded[at:start] + mark, end
    return text + folded[at:], meanings


def _compiled(rules: Sequence[tuple[str, str]], prefix: str, edge: str) -> tuple[re.Pattern[str], dict[str, str]]:
    named = {f"{prefix}{place}": meaning for place, (meaning, _) in enumerate(rules)}
    parts = (f"(?P<{prefix}{place}>{edge}(?:{pattern}){edge})" for place, (_, pattern) in enumerate(rules))
    return re.compile("|".join(parts)), named


_JAPANESE_WORDS, _JA_MEANINGS = _compiled(_JAPANESE, "j", "")
_ENGLISH_WORDS, _EN_MEANINGS = _compiled(_ENGLISH, "e", r"\b")
_MEANINGS = _JA_MEANINGS | _EN_MEANINGS


def _meaning(match: re.Match[str]) -> str:
    meaning = _MEANINGS.get(match.lastgroup or "", match[0])
    return f" {meaning} " if not meaning or meaning.startswith("<") else meaning


def _without_repeats(words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        if not (place and word.startswith("<") and word == words[place - 1]):
            yield word


def _number(kanji: str) -> int:
    """A Japanese numeral up to hundreds, or digits in a row (一〇〇)."""
    if not set(kanji) & set("十百"):
        return int("".join(str(_DIGITS[character]) for character in kanji))
    total = part = 0
    for character in kanji:
        if character in _DIGITS:
            part = _DIGITS[character]
        else:
            total += (part or 1) * (100 if character == "百" else 10)
            part = 0
    return total + part
