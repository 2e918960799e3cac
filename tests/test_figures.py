import base64
import re

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import written_by_hand as hand

from workbench import figures, tables
from workbench.language import said

NAMES = {project: name for project, (name, _mean, _sd) in hand.PROJECTS.items()}


def widest(ax):
    """Highest and lowest text box in pixels, to see which labels overlap."""
    ax.figure.canvas.draw()
    return [(text.get_text(), text.get_window_extent()) for text in ax.texts if text.get_text()]


def test_the_trends_alt_text_gives_the_first_and_last_numbers_and_the_counterfactual(ax):
    alt = figures.plot_trends(hand.trends(), ax=ax, lang="en")
    assert "from 25.0 to 21.2 percent" in alt and "from 19.0 to 19.3." in alt
    assert "24.3 percent is expected in 2024 (90 % interval 22.1 to 26.5)" in alt


def test_labels_of_lines_that_end_together_do_not_overlap(ax):
    close = hand.trends().assign(mean=lambda frame: 20 + 0.01 * frame["mean"])
    figures.plot_trends(close, ax=ax, lang="en")
    boxes = [box for _text, box in widest(ax)]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_without_an_effect_no_counterfactual_is_drawn(ax):
    frame = hand.trends()
    same = frame[frame["series"] == "modelled"].assign(series="without")
    alt = figures.plot_trends(pd.concat([frame[frame["series"] != "without"], same]), ax=ax, lang="en")
    assert "Without" not in alt


def test_the_effects_picture_draws_every_project_with_its_interval_and_prior(ax):
    alt = figures.plot_effects(hand.effects(), hand.prior_effects(), ax=ax, names=NAMES, minimum_pp=2.0, lang="en")
    assert all(name in alt for name in [*NAMES.values(), "all projects"]) and "−4.6 points" in alt
    assert sorted({round(line.get_xdata()[0], 6) for line in ax.lines if line.get_linestyle() == "--"}) == [
        -2.0,
        2.0,
    ]
    assert len(ax.patches) == 5 and all(round(bar.get_width(), 6) == 12.5 for bar in ax.patches)


def test_one_project_is_drawn_once_and_a_long_name_is_wrapped(ax):
    effects = hand.effects()
    effects = effects[effects["project"].isin(["", "hosts"])]
    names = {"hosts": "Everything that the city did between two waves"}
    alt = figures.plot_effects(effects, hand.prior_effects(), ax=ax, names=names, minimum_pp=2.0, lang="en")
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == 1 and "\n" in labels[0] and names["hosts"] in alt


def test_the_event_study_names_each_wave_since_the_start(ax):
    alt = figures.plot_event_study(hand.effects(), ax=ax, minimum_pp=2.0, lang="en")
    assert "0: −1.5 points" in alt and "2: −3.1 points" in alt


def test_one_project_in_one_area_gets_the_warning_about_priors():
    assert "only by their priors" in said("event_study", "en", projects=1, areas=1)
    assert "priors" not in said("event_study", "en", projects=3, areas=5)


@pytest.mark.parametrize("fewer, more, counts", [(3, 0, (21, 3, 76)), (0, 4, (17, 4, 79)), (0, 0, (21, 0, 79))])
def test_a_hundred_residents_are_drawn_and_add_up(ax, fewer, more, counts):
    alt = figures.plot_residents(21, ax=ax, fewer=fewer, more=more, lang="en")
    heads = [patch for patch in ax.patches if type(patch).__name__ == "Circle"]
    colours = pd.Series([mpl.colors.to_hex(patch.get_facecolor()) for patch in heads]).value_counts()
    assert len(heads) == 100 and colours[figures.ORANGE] == counts[0] and colours[figures.PALE_GREY] == counts[2]
    assert colours.drop([figures.ORANGE, figures.PALE_GREY]).sum() == counts[1]
    assert "21" in alt and str(100 - 21 - fewer) in alt


def test_answers_are_stacked_to_a_hundred_and_a_missing_class_leaves_no_bar(ax):
    shares = hand.answer_shares()
    shares = shares[~((shares["wave"] == "2024") & (shares["answer"] == "rarely"))]
    alt = figures.plot_answers(shares, ax=ax, names={"never": "nooit"}, lang="nl")
    assert "nooit 42 %" in alt and "nan" not in alt and "projectgebieden" in alt
    assert max(bar.get_y() + bar.get_height() for bar in ax.patches) == pytest.approx(100)


def test_answers_lumped_together_lie_between_the_answers_they_lump_and_every_label_stays_in_the_picture(ax):
    shares = hand.answer_shares()
    last = shares["wave"] == "2024"
    lumped = pd.DataFrame(
        {"group": ["treated", "comparison"], "wave": "2024", "answer": "never to rarely", "share": 75.0}
    )
    shares = pd.concat([shares[~(last & shares["answer"].isin(["never", "rarely"]))], lumped])
    order = ["never", "never to rarely", "rarely", "sometimes", "often", "always"]
    alt = figures.plot_answers(shares, ax=ax, names={answer: answer.upper() for answer in order}, lang="en")
    assert "2024 NEVER TO RARELY 75 %, SOMETIMES" in alt
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts if text.get_text().isupper()}
    assert heights["NEVER"] < heights["NEVER TO RARELY"] < heights["SOMETIMES"]
    assert set(heights) == {answer.upper() for answer in order} and max(heights.values()) < 112


def test_pictures_are_told_apart_in_greyscale():
    def grey(colour):
        red, green, blue = mpl.colors.to_rgb(colour)
        return 0.299 * red + 0.587 * green + 0.114 * blue

    shades = sorted(
        grey(colour) for colour in (figures.BLUE, figures.ORANGE, figures.GREY, figures.PALE_BLUE, figures.PALE_GREY)
    )
    assert grey(figures.PALE_GREY) - grey(figures.ORANGE) > 0.3 and shades[0] == grey(figures.BLUE)


def test_a_shown_picture_carries_its_alt_text(monkeypatch):
    seen = {}
    monkeypatch.setattr(figures, "display", lambda data, **options: seen.update(data=data, **options))
    figures.show(plt.figure(), "what it shows")
    assert seen["metadata"] == {"image/png": {"alt": "what it shows"}}
    assert base64.b64decode(seen["data"]["image/png"]).startswith(b"\x89PNG")


def test_an_image_tag_escapes_its_alt_text():
    assert 'alt="a &lt;b&gt; &#34;c&#34;"' in figures.image_tag(lambda ax, lang: 'a <b> "c"', size=(1, 1), lang="en")


def test_dollar_signs_in_a_name_are_not_read_as_maths(ax):
    names = NAMES | {"hosts": "$100 for $x^"}
    figures.plot_effects(hand.effects(), hand.prior_effects(), ax=ax, names=names, minimum_pp=2.0, lang="en")
    figures.png(ax.figure)


# --- tables -------------------------------------------------------------------------------------------------------------


def test_effects_are_rounded_and_labelled_in_the_language():
    table = tables.effects(hand.effects(), estimand="att_by_project", names=NAMES, lang="nl")
    assert list(table.iloc[0][:4]) == ["Street hosts", "−4,6", "−5,9 tot −3,4", "−7,6 tot −1,5"]


def test_the_failing_check_stands_first():
    frame = hand.checks()
    frame.loc[3, "status"] = "fail"
    assert list(tables.checks(frame, lang="en")["status"]) == ["fail", "warn", "pass", "pass"]


def test_a_table_holds_no_markup_of_its_content():
    text = tables.html(pd.DataFrame({"<i>": ["<script>x</script>", None]}), "a & b").data
    assert "<script>" not in text and "<i>" not in text and "a &amp; b" in text and "None" not in text


def test_in_a_shaded_table_the_highest_number_is_darkest_and_what_is_missing_has_no_shade():
    grid = pd.DataFrame({"area": ["North", "South"], "2020": [10.0, 50.0], "2022": [None, 0.0]})
    text = tables.html(grid, "a", shaded=True).data
    found = re.findall(r'<td(?: class="(s[0-9]+)")?>([^<]*)<', text)
    assert found == [("s2", "10"), ("", ""), ("s10", "50"), ("s0", "0")]
    assert "td.s10{" in tables.stylesheet() and 'class="s' not in tables.html(grid, "a").data.replace(
        'class="scroll', ""
    )


def test_a_caption_has_a_title_and_says_who_when_and_how_many():
    title, about = tables.caption("trends", panel=hand.panel(), note="Look.", lang="en").splitlines()
    assert title.startswith("Residents feeling unsafe")
    assert about == "Demostad, project areas: 14, comparison areas: 26, surveys 2016 to 2024, 9,180 answers. Look."
    assert f"<b>{title}</b> Demostad" in tables.html(pd.DataFrame({"a": [1]}), f"{title}\n{about}").data


def test_an_answer_that_lumps_categories_is_named_by_its_first_and_last_in_the_language():
    panel = hand.panel().isel(answer=[0, 1]).assign(lower=("answer", [0, 1]), upper=("answer", [2, 1]))
    assert list(tables.answer_names(panel, lang="nl").values()) == ["nooit tot en met af en toe", "zelden"]
