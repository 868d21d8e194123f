// Parallel coordinates: one axis a parameter, one line a trial. A range is drawn on an axis by dragging along it, or by
// its two handles, which take the keyboard's arrows too. Python hears of a range when it is let go, and of a click on
// a line.
//
// data: see parallel.py. All places go from 0 (bottom) to 1 (top).

const TOP = 46
const BOTTOM = 22
const LEFT = 70
const RIGHT = 90
const GOOD = [0, 114, 178]
const POOR = [166, 176, 187]
const BEST = "#D55E00"
const charts = new WeakMap()

function element(tag, parent, attributes = {}, text = "") {
  const made = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag))
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.textContent = text
  return made
}

/** The smaller the loss, the bluer; half-way between the colours a quarter up the axis, so that the best stand apart. */
function shade(share) {
  return `rgb(${GOOD.map((from, i) => Math.round(from + (POOR[i] - from) * Math.min(1, Math.sqrt(share))))})`
}

class Parallel {
  constructor(root) {
    this.root = document.createElement("div")
    this.root.className = "parallel"
    root.appendChild(this.root)
    this.observer = new ResizeObserver(() => this.data && this.draw())
    this.observer.observe(this.root)
  }

  update(data, send) {
    this.send = send
    if (this.dragging) return // a redraw would take the axis out of the reader's hand
    this.data = data
    this.ranges = data.axes.map((axis) => axis.range)
    this.draw()
  }

  draw() {
    const { axes, lines, best, chosen, alt } = this.data
    const focused = document.activeElement?.getAttribute?.("data-handle")
    const [width, height] = [this.root.clientWidth || 800, this.root.clientHeight || 420]
    this.root.replaceChildren()
    const svg = element("svg", this.root, { role: "group", "aria-label": alt, viewBox: `0 0 ${width} ${height}` })
    const step = axes.length > 1 ? (width - LEFT - RIGHT) / (axes.length - 1) : 0
    this.x = axes.map((_, i) => LEFT + i * step)
    this.y = (place) => height - BOTTOM - place * (height - TOP - BOTTOM)
    this.place = (event) => {
      const box = svg.getBoundingClientRect()
      const at = ((event.clientY - box.top) * height) / box.height
      return Math.min(1, Math.max(0, (height - BOTTOM - at) / (height - TOP - BOTTOM)))
    }
    // The best and the chosen one on top of the others.
    const order = [...lines].sort((a, b) => (b.rank ?? 0) - (a.rank ?? 0))
    order.sort((a, b) => (a.trial === best) + 2 * (a.trial === chosen) - (b.trial === best) - 2 * (b.trial === chosen))
    this.paths = order.map((line) => {
      const points = line.places.flatMap((place, i) => (place === null ? [] : [`${this.x[i]},${this.y(place)}`]))
      const path = element("polyline", svg, { class: "line", points: points.join(" ") })
      path.style.stroke = line.trial === best ? BEST : line.trial === chosen ? "currentColor" : shade(line.rank ?? 0)
      path.classList.toggle("best", line.trial === best)
      path.classList.toggle("chosen", line.trial === chosen)
      element("title", path, {}, `Trial ${line.trial + 1}${line.trial === best ? ", the best" : ""}`)
      path.addEventListener("click", () => this.send({ event: "pick", trial: line.trial }))
      return [line, path]
    })
    this.groups = axes.map((axis, i) => this.axis(svg, axis, i, step))
    this.show()
    if (focused) this.root.querySelector(`[data-handle="${focused}"]`)?.focus()
  }

  axis(svg, axis, number, step) {
    const x = this.x[number]
    const group = element("g", svg)
    const label = axis.label.length > 20 ? `${axis.label.slice(0, 19)}…` : axis.label
    // Names of neighbours would touch: every other one is a line higher.
    const up = step < 130 && number % 2 ? 15 : 0
    const name = element("text", group, { x, y: TOP - 16 - up, "text-anchor": "middle", class: "name" }, label)
    element("title", name, {}, axis.name)
    element("line", group, { class: "axis", x1: x, x2: x, y1: this.y(0), y2: this.y(1) })
    for (const [place, text] of axis.ticks) {
      element("line", group, { class: "axis", x1: x - 4, x2: x, y1: this.y(place), y2: this.y(place) })
      const shown = text.length > 14 ? `${text.slice(0, 13)}…` : text
      element("text", group, { x: x + 13, y: this.y(place) + 4 }, shown)
    }
    const grip = element("rect", group, { class: "grip", x: x - 14, width: 28, y: this.y(1), height: this.y(0) - this.y(1) })
    element("title", grip, {}, "Drag along the axis to draw a range; click to take it away")
    grip.addEventListener("pointerdown", (event) => this.pull(event, grip, number, this.place(event), null))
    const range = element("rect", group, { class: "range", x: x - 7, width: 14 })
    range.addEventListener("pointerdown", (event) => this.move(event, range, number))
    const handles = [0, 1].map((end) => {
      const handle = element("rect", group, {
        class: "handle", x: x - 10, width: 20, height: 7, rx: 2, tabindex: 0, role: "slider", "data-handle": `${number}-${end}`,
        "aria-orientation": "vertical", "aria-label": `${axis.label}, ${end ? "up to" : "from"}`, "aria-valuemin": 0,
        "aria-valuemax": 100,
      })
      handle.addEventListener("pointerdown", (event) => {
        const [low, high] = this.ranges[number] ?? [0, 1]
        this.pull(event, handle, number, end ? low : high, end ? high : low)
      })
      handle.addEventListener("keydown", (event) => this.key(event, number, end))
      return handle
    })
    return { range, handles, axis }
  }

  /** What is within all ranges stands out; drawn again at every move of a range, without Python. */
  show() {
    const inside = (line) => this.ranges.every((range, i) => {
      const place = line.places[i]
      return !range || (place !== null && place >= range[0] - 1e-6 && place <= range[1] + 1e-6)
    })
    for (const [line, path] of this.paths) path.classList.toggle("out", !inside(line))
    this.groups.forEach(({ range, handles, axis }, i) => {
      const [low, high] = this.ranges[i] ?? [0, 1]
      range.setAttribute("y", this.y(high))
      range.setAttribute("height", Math.max(2, this.y(low) - this.y(high)))
      range.style.display = this.ranges[i] ? "" : "none"
      handles.forEach((handle, end) => {
        const place = end ? high : low
        handle.setAttribute("y", this.y(place) - (end ? 7 : 0))
        handle.setAttribute("aria-valuenow", Math.round(100 * place))
        handle.setAttribute("aria-valuetext", this.near(axis, place))
      })
    })
  }

  near(axis, place) {
    const [, text] = axis.ticks.reduce((a, b) => (Math.abs(b[0] - place) < Math.abs(a[0] - place) ? b : a))
    return `${Math.round(100 * place)} % of the axis, near ${text}`
  }

  /** From `fixed` to where the pointer goes. first: where it is meant to be now; null for a click without a move. */
  pull(event, target, number, fixed, first) {
    event.preventDefault()
    const before = this.ranges[number]
    let moved = false
    this.follow(event, target, (place) => {
      moved ||= first !== null || Math.abs(place - fixed) > 0.01
      if (moved) this.ranges[number] = [Math.min(fixed, place), Math.max(fixed, place)]
    }, () => {
      if (!moved) this.ranges[number] = null
      if (moved || before) this.tell(number)
    })
  }

  /** The range as a whole along its axis. */
  move(event, target, number) {
    event.preventDefault()
    const [low, high] = this.ranges[number]
    const from = this.place(event)
    let moved = false
    this.follow(event, target, (place) => {
      const by = Math.min(1 - high, Math.max(-low, place - from))
      moved ||= Math.abs(by) > 0.005
      this.ranges[number] = [low + by, high + by]
    }, () => {
      if (!moved) this.ranges[number] = null
      this.tell(number)
    })
  }

  follow(event, target, at, end) {
    this.dragging = true
    target.setPointerCapture(event.pointerId)
    const move = (moving) => {
      at(this.place(moving))
      this.show()
    }
    const up = () => {
      target.removeEventListener("pointermove", move)
      this.dragging = false
      end()
      this.show()
    }
    target.addEventListener("pointermove", move)
    target.addEventListener("pointerup", up, { once: true })
    target.addEventListener("pointercancel", up, { once: true })
  }

  key(event, number, end) {
    const by = { ArrowUp: 0.05, ArrowRight: 0.05, ArrowDown: -0.05, ArrowLeft: -0.05, PageUp: 0.25, PageDown: -0.25 }[event.key]
    const [low, high] = this.ranges[number] ?? [0, 1]
    if (event.key === "Escape" || event.key === "Delete") {
      if (!this.ranges[number]) return
      this.ranges[number] = null
    } else if (by !== undefined) {
      const place = Math.min(1, Math.max(0, (end ? high : low) + by))
      this.ranges[number] = end ? [low, Math.max(low, place)] : [Math.min(high, place), high]
    } else return
    event.preventDefault()
    this.show()
    clearTimeout(this.later)
    this.later = setTimeout(() => this.tell(number), 300)
  }

  tell(number) {
    const range = this.ranges[number]
    const whole = !range || (range[0] <= 0 && range[1] >= 1)
    if (whole) this.ranges[number] = null
    const [low, high] = whole ? [null, null] : range
    this.send({ event: "range", axis: this.data.axes[number].name, low, high })
  }

  close() {
    clearTimeout(this.later)
    this.observer.disconnect()
    this.root.remove()
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!charts.has(parentElement)) charts.set(parentElement, new Parallel(parentElement))
  const chart = charts.get(parentElement)
  chart.update(data, (done) => setTriggerValue("done", done))
  return () => {
    charts.delete(parentElement)
    chart.close()
  }
}
