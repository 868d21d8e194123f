"""What a class waits for: the picture of a chapter after a drag of its slider."""

from .app import App
from .bench import Bench

_CHAPTERS = ("problem", "permute", "average", "solve", "break")
# From the slider's event until the frame after the one with the picture has begun: by then it is on the screen.
_DRAGS = """async runs => {
  const input = document.querySelector('.lesson input[type=range]'), frame = () => new Promise(requestAnimationFrame);
  const spent = [];
  for (let run = 0; run < runs; run += 1) {
    await frame();
    const start = performance.now();
    input.value = Number(input.min) + (run * 7 + 3) % (Number(input.max) - Number(input.min) + 1);
    input.dispatchEvent(new Event('input', {bubbles: true}));
    await frame();
    await frame();
    spent.push((performance.now() - start) / 1000);
  }
  return spent;
}"""


def learning(bench: Bench, app: App) -> None:
    """Drags in every chapter that has a slider."""
    page = bench.page()
    for chapter in _CHAPTERS:
        page.goto(f"{app.address}/learn?chapter={chapter}")
        page.locator(f".lesson[data-ready={chapter}]").wait_for()
        page.locator("[data-test-script-state=notRunning]").wait_for()
        page.wait_for_timeout(500)
        bench.check_access(page, f"Learn, {chapter}")
        bench.found["learn drag to picture, s"] += page.evaluate(_DRAGS, bench.runs)
    page.context.close()
