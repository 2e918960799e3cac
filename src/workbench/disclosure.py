"""What may leave the building: people, small cells and traces of this machine are found, and taken out, in one walk.

A walker takes a file's content and gives it back without what may not leave, with a finding (place, value, rule) for
each such thing; to check is to throw the content away. Words, rules: disclosure.toml; limits: docs/sharing.md."""

import csv
import io
import json
import re
import tomllib
from collections import namedtuple
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from unicodedata import normalize

import pandas as pd
from bs4 import BeautifulSoup

from workbench.answers import count_answers
from workbench.items import ITEMS
from workbench.language import translator

K = 10  # respondents behind one area and wave, below which nothing may leave the building
SMALL_GROUP = 100  # that nobody or everybody of fewer people answered so tells on each of them
SAID = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
PATTERNS = [(p["rule"], re.compile(p["find"], re.IGNORECASE), p["instead"]) for p in SAID["patterns"]]
WORDS = {name: re.compile(text, re.IGNORECASE) for name, text in SAID["words"].items()}
seen = lambda value: normalize("NFKC", WORDS["unseen"].sub("", normalize("NFC", str(value))))
_words = lambda content: tuple(WORDS["token"].findall(seen(content).casefold()))
RULES, DATE, COUNT = SAID["rules"], PATTERNS[0][0], PATTERNS[-1][0]
ALL = (-1, -1)  # the cell that stands for a whole table
FIRST, MOST = 5, 8  # of a free text the first words are looked for; an identifier or name has at most so many
csv.field_size_limit(2**31 - 1)  # a whole text may stand in one field

# What must not leave of a city, texts as `plain` makes them: `known` words in a row -> their rule; respondents' `ids`;
# of each column of the `survey` (heading, is it area or wave, values, their set); label -> id of `areas` and `waves`;
# `n` of (area, wave); `groups` of areas that reports tell of.
Facts = namedtuple("Facts", "known ids survey areas waves n groups", defaults=({}, frozenset(), (), {}, {}, {}, ()))


def plain(value: object) -> str:
    """A text as it is compared: as seen, lower case, single blanks, no marks around it, no needless `.0`."""
    return re.sub(r"^[^\w]+|(\.0)?[^\w%]{0,9}$", "", " ".join(seen(value).casefold().split()))


def stated(count: pd.Series, city, item: str) -> pd.Series:
    """Respondents by (area, wave), but where their number is assumed: those percentages are public already."""
    if city.shares is None:
        return count
    rows = city.shares[((city.shares["item"] == item) | (item == "")) & city.shares["assumed"]]
    return count.drop(pd.MultiIndex.from_frame(rows[["area", "wave"]]), errors="ignore")


def facts_of(city, sheet, *, item: str = "", users=()) -> Facts:
    """What must not leave of `city`; `sheet` is its survey file (`survey_as_given`), cells are those of `item`."""
    known = {_words(name): RULES["user"] for name in users if len(name) > 2 and plain(name) not in SAID["accounts"]}
    if city is None:
        return Facts(known)
    if item:
        count = count_answers(city, item=item)["respondents"].to_series()
    elif city.shares is None:
        count = city.respondents.groupby(["area", "wave"]).size()
    else:
        count = city.shares.groupby(["area", "wave"])["n"].max()
    areas = {plain(label): area for name in ("name", "area") for label, area in city.areas[[name, "area"]].values}
    waves = {plain(wave): wave for wave in city.waves["wave"]}
    every, projects = set(city.areas["area"]), [set(own) for _, own in city.projects.groupby("project")["area"]]
    groups = (*projects, every, set().union(*projects), every.difference(*projects))
    facts = Facts(known, areas=areas, waves=waves, n=stated(count, city, item).to_dict(), groups=groups)
    if sheet is None:
        return facts
    ids, survey = frozenset(map(plain, city.respondents["respondent"])), []
    known |= {_words(one): RULES["id"] for one in ids - {*areas, *waves} if WORDS["id"].fullmatch(one)}
    columns = [(name, sheet.own.get(name, name), sheet.frame[name]) for name in sheet.frame]
    for name, heading, values in [*columns, *((name, name, city.respondents[name]) for name in city.respondents)]:
        values, count = values.astype(object).fillna(""), values.value_counts()
        compared = values.map({value: plain(value) for value in values.unique()}).tolist()
        survey.append((plain(heading), name in ("area", "wave"), compared, set(compared)))
        if name not in (*ITEMS, "respondent", "area", "wave", "weight"):
            # A shorter text is an ordinary phrase, but in a column of names or addresses.
            letters, words = (4, 1) if WORDS["personal"].fullmatch(heading) else (15, 2)
            rare = [one for one in map(str, count.index[count < K]) if len(one) >= letters and plain(one) not in areas]
            known |= {_words(one)[:FIRST]: RULES["text"] for one in rare if len(_words(one)) >= words}
    return facts._replace(ids=ids, survey=survey)


def hidden(keys, n: dict, groups=()) -> set:
    """Of published (area, wave) those with too few people, and those that a total would give one of them away by.
    Totals of an area over waves, and of each group of areas in a wave, count as known: others publish them."""
    taken = {key for key in keys if 0 < n.get(key, 0) < K}
    areas, waves = (sorted({key[axis] for key in keys}) for axis in (0, 1))
    lines = [{key for key in keys if key[0] == area} for area in areas]
    groups = sorted([*groups, areas], key=len)
    lines += [{key for key in keys if key[0] in group and key[1] == wave} for wave in waves for group in groups]
    while alone := [line for line in lines if len(line & taken) == 1 < len(line)]:
        # One that stands in line with others already taken protects these as well; then the one with the fewest people.
        near = {key: sum(key[0] == area or key[1] == wave for area, wave in taken) for key in alone[0] - taken}
        taken.add(min(near, key=lambda key: (-near[key], n.get(key, 0) or 1e9, str(key))))
    return taken


def table(heads: list, rows: list, caption: str, facts: Facts) -> dict[tuple[int, int], str]:
    """The cells (row, column) that may not leave, and why; ALL where none of it may.
    `heads`: the headings above each column. A number belongs to the area and wave that its row or column tells."""
    heads, caption = [list(map(seen, head)) for head in heads], seen(caption)
    short = [[*map(plain, row), *[""] * len(heads)][: len(heads)] for row in rows]
    if short and _of_people(heads, zip(*short, strict=True), facts):
        return {ALL: RULES["rows"]}
    found, published, few = {}, {}, {area for (area, _wave), n in facts.n.items() if 0 < n < K}
    in_area, area_above, area_beside = _labels(heads, short, facts.areas)
    in_wave, wave_above, wave_beside = _labels(heads, short, facts.waves, but=in_area)  # a label may tell both
    columns = {c: ".*\\d" if c else "(?!.*[^\\W\\d]{4}).*\\d" for c in range(len(heads)) if c not in (in_area, in_wave)}
    for r, c in ((r, c) for r, row in enumerate(short) for c, number in columns.items() if re.match(number, row[c])):
        cell, about = seen(rows[r][c]).strip(), [*heads[c], caption]
        key = area, wave = area_above[c] or area_beside[r], wave_above[c] or wave_beside[r]
        counts = any(map(WORDS["counts"].match, [*about, rows[r][0]] if c else heads[c])) and "%" not in cell
        share = area_above[c] or wave_above[c] or any(map(WORDS["share"].search, [cell, *about]))
        end = share and WORDS["ends"].fullmatch(cell) or WORDS["one"].match(" | ".join([cell, *about]))
        if area and wave:
            published.setdefault(key, []).append((r, c))
        if counts and WORDS["few"].fullmatch(cell):
            found[r, c] = COUNT
        elif not wave and area in few and any(map(WORDS["effect"].search, about)):
            found[r, c] = RULES["area"]
        elif 0 < facts.n.get(key, 0) < SMALL_GROUP and end and not counts:
            found[r, c] = RULES["ends"]
    for key in hidden(published, facts.n, facts.groups):
        found |= dict.fromkeys(published[key], RULES["small" if 0 < facts.n.get(key, 0) < K else "second"])
    return found


def _labels(heads, rows, names, *, but=None) -> tuple:
    """The first column at least half of whose filled cells tell `names`; the one above each column, beside each row."""
    inside = {_words(name): one for name, one in names.items() if WORDS["telling"].match(name)}
    parts = lambda words: (words[i : i + n] for n in range(MOST, 0, -1) for i in range(len(words) - n + 1))
    within = lambda label: next(filter(None, map(inside.get, parts(_words(label)))), None)  # the longest in a label
    told = lambda label: names.get(plain(label)) or within(label)
    filled = ((c, [*map(told, filter(None, cells))]) for c, cells in enumerate(zip(*rows, strict=True)) if c != but)
    side = next((c for c, cells in filled if cells and 2 * sum(map(bool, cells)) >= len(cells)), None)
    beside = [within(row[but or 0]) if side is None else told(row[side]) for row in rows if heads]
    above = [next(filter(None, map(told, head)), None) for head in heads]
    return side, above, beside


def _of_people(heads, columns, facts: Facts) -> bool:
    """Does a column hold respondents, or do rows equal respondents' in two or more columns of the survey?"""
    pairs, weight = [], 0
    for head, column in zip(heads, columns, strict=True):
        top, filled = set(map(plain, head)), set(column) - {""}
        own = any(heading in top and given <= facts.ids for heading, _place, _values, given in facts.survey)
        named = (own or any(map(WORDS["respondent"].fullmatch, top))) and not filled <= set(facts.areas)
        if named and 2 * len(filled & facts.ids) >= len(filled):
            return True
        in_words = len(filled) > 1 and not any(re.match(r"[\d.,]+$", cell) for cell in filled)
        for heading, place, values, given in facts.survey if filled else ():
            if (heading in top or in_words and not place) and filled <= given:
                pairs, weight = [*pairs, (column, values)], weight + (0 if place else 2 if heading in top else 1)
                break
    if len(pairs) < 2 or weight < 2:
        return False
    shown, theirs = (list(zip(*some, strict=True)) for some in zip(*pairs, strict=True))
    whole, theirs = [row for row in shown if all(row)], set(theirs)
    return bool(whole) and 5 * sum(row in theirs for row in whole) >= 4 * len(whole)


def text(content: str, facts: Facts, place: str) -> tuple[str, list]:
    """Walk text, or markup as text: no identifiers, free text, dates, paths, names and counts of a few.
    Days in JSON are no finding: when a run or a card was made goes to the month, or is part of what was sealed."""
    content = normalize("NFC", content)
    shown = {c: seen(c) for c in set(content)}
    at, look = [i for i, c in enumerate(content) for _ in shown[c]] + [len(content)], "".join(map(shown.get, content))
    spans = [(m.start(), m.end(), m.expand(to), rule) for rule, find, to in PATTERNS for m in find.finditer(look)]
    tokens = list(WORDS["token"].finditer(look))
    words = tuple(token[0].casefold() for token in tokens)
    for first, last in ((i, j) for i in range(len(words)) for j in range(i, min(i + MOST, len(words)))):
        if rule := facts.known.get(words[first : last + 1]):
            begin, end = tokens[first].start(), tokens[last].end()
            end += len(re.match(r'[^\n<"]*', look[end:])[0]) if rule == RULES["text"] else 0  # the rest of it
            spans.append((begin, end, "[removed]", rule))
    made, done, found = [], 0, []
    for begin, end, instead, rule in sorted(spans, key=lambda span: (span[0], -span[1])):
        if at[begin] >= done:
            under = WORDS["heading"].findall(look, 0, begin)[-1:] if "<" in look else []
            made, done = [*made, content[done : at[begin]], instead], at[end]
            if rule != DATE or not place.endswith(".json"):
                found.append((", ".join([place, *under]), look[begin:end], rule))
    return "".join([*made, content[done:]]), found


def _judged(heads, rows, caption, facts: Facts, place: str) -> tuple[dict, list]:
    """What `table` finds, and the findings."""
    hits = table(heads, rows, caption, facts)
    told = lambda r, c: ", ".join([f"{rows[r][c]} ({rows[r][0]}", *heads[c]]) + ")" if r >= 0 else f"{len(rows)} rows"
    return hits, [(place, told(*at), rule) for at, rule in hits.items()]


def comma_separated(content: str, facts: Facts, place: str) -> tuple[str, list]:
    """Walk a CSV file: rows that hold what may not leave are dropped, all of them where they are people's."""
    delimiter = max(",;\t", key=content.partition("\n")[0].count)
    lines = list(csv.reader(io.StringIO(content, newline=None), delimiter=delimiter)) or [[]]
    hits, found = _judged([[cell] for cell in lines[0]], lines[1:], "", facts, place)
    traces = [text(" | ".join(line), facts, f"{place}, line {r}")[1] for r, line in enumerate(lines, 1)]
    gone = {r + 1 for r, _c in hits}
    kept = [line for r, line in enumerate(lines) if r not in gone and not traces[r] and ALL not in hits]
    csv.writer(made := io.StringIO(), delimiter=delimiter, lineterminator="\n").writerows(kept)
    found += [one for each in traces for one in each]
    return made.getvalue() if found else content, found


def markup(content: str, facts: Facts, place: str) -> tuple[str, list]:
    """Walk HTML: cells become a dot; tables of people, printed ones, and pictures beside what was taken out, a note."""
    pictures, found = [], []
    content = WORDS["picture"].sub(lambda m: pictures.append(m[0]) or f"picture#{len(pictures) - 1}#", content)
    soup = BeautifulSoup(content, "html.parser")
    note = translator((soup.html or {}).get("lang", "en")).gettext("Left out before sharing.")
    for tag in soup.find_all(["table", "pre", "img"]):
        above, caption = tag.find_previous(re.compile(r"^h[1-6]$")), tag.caption.get_text(" ") if tag.caption else ""
        here = ", ".join(filter(None, [place, above and above.get_text(" "), caption[:60]]))
        if tag.name == "table":
            heads, cells = _cells(tag)
            words = [[cell.get_text(" ", strip=True) if cell else "" for cell in row] for row in cells]
            hits, said = _judged(heads, words, caption, facts, here)
            for r, c in hits if ALL not in hits else ():
                cells[r][c].string = "·"
                cells[r][c].attrs = {k: v for k, v in cells[r][c].attrs.items() if k in ("scope", "colspan", "rowspan")}
        else:
            hits, said = {}, text(tag.get("alt", ""), facts, here)[1]
            for heads, rows in _printed(tag.get_text()):
                said += _judged(heads, rows, "", facts, f"{here}, printed table")[1]
        output = tag.find_parent("div", class_=lambda name: name != "scroll") if said and tag.name != "img" else None
        gone = [*(output.find_all("img") if output else ()), *([tag] if said and (ALL in hits or not hits) else ())]
        for one in (one for one in gone if one.parent):  # not gone before
            one.replace_with(note)
        found += said
    made, traces = text(str(soup), facts, place)
    found, made = found + traces, made if found + traces else content
    return re.sub(r"picture#(\d+)#", lambda m: pictures[int(m[1])], made), found


def _cells(tag) -> tuple[list, list]:
    """Headings above each column, and the cells (tags) of the rows below; what spans several stands in each."""
    lines, wide = tag.find_all("tr"), lambda cell: min(int(n), 99) if (n := str(cell.get("colspan"))).isdigit() else 1
    rows = [[cell for cell in line.find_all(["th", "td"]) for _ in range(wide(cell))] for line in lines]
    rows = [[None] * (max(map(len, rows)) - len(row)) + row for row in rows]
    for row, below in pairwise(rows):  # a label that spans rows stands only in the first of them
        below[:] = [cell or above for above, cell in zip(row, below, strict=True)]
    depth = sum(line.find_parent("thead") is not None for line in lines) or 1
    heads = [[cell.get_text(" ", strip=True) for cell in column if cell] for column in zip(*rows[:depth], strict=True)]
    return heads, rows[depth:]


def _printed(content: str):
    """Headings and rows of each table that stands in plain text: lines one after the other with as many cells."""
    for separator in (r"\s{2,}|\t", r"\s*\|\s*", r"\s*[,;]\s*"):
        lines = [parts for line in content.splitlines() if len(parts := re.split(separator, line.strip(" |"))) > 1]
        for line, below in pairwise(lines):
            line[:0] = [""] * (len(below) == len(line) + 1)  # the index of a printed frame has no heading
        for head, *rows in (list(block) for _width, block in groupby(lines, len)):
            yield [[cell] for cell in head], rows


def notebook(content: str, facts: Facts, place: str) -> tuple[str, list]:
    """Findings in the cells of an executed notebook, by their number; nothing of it leaves."""
    found = []
    for number, cell in enumerate((cell for cell in json.loads(content)["cells"] if "outputs" in cell), 1):
        named = []  # what stands under a name, however deep
        json.loads(json.dumps([{"source": cell["source"]}, cell["outputs"]]), object_pairs_hook=named.extend)
        shown = ""
        for name, part in named:
            if isinstance(part, str | list) and "image" not in name:
                part = WORDS["ansi"].sub("", "".join(one for one in part if isinstance(one, str)))
                shown += part if "html" in name else f"<pre>{escape(part)}</pre>"
        found += markup(shown, facts, f"{place}, cell [{number}]")[1]
    return content, list(dict.fromkeys(found))
