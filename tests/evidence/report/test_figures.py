"""Pictures of a report: nothing of them is cut off."""

from detassign.evidence.report import figures
from detassign.evidence.report.views import Chart, Mark, Strip


def test_a_title_that_is_wider_than_its_axes_stays_inside_the_figure():
    """Labels of thirty letters leave a column's axes half of its width."""
    strips = [Strip("x" * 30, [Mark("", 0, 1.0, None, [])])]
    figure = figures._chart_figure([Chart("AP50 that each kind of error costs", "points", strips, 1, zero=True)])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert ax.title.get_window_extent().x1 > figure.bbox.x1
    figures._saved(figure, "png")
    figure.draw_without_rendering()
    box = ax.title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1 + 0.5
