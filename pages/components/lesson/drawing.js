// What the lessons' pictures are made of: maps of the plane, neurons as small pictures, curves, controls.

const REACH = 3
const CLASSES = ["#0072B2", "#E69F00", "#009E73"]
const MARKS = [ // circle, square, triangle: as in the other charts of the app
  "M0-.062A.062.062 0 1 1 0 .062A.062.062 0 1 1 0-.062Z", "M-.058-.058H.058V.058H-.058Z", "M0-.075L.07 .055H-.07Z",
]
const CELLS = 72
const SVG = "http://www.w3.org/2000/svg"

function element(tag, parent, attributes = {}, text = "") {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  if (text) made.textContent = text
  return parent ? parent.appendChild(made) : made
}

function shape(tag, parent, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  if (text) made.textContent = text
  return parent.appendChild(made)
}

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
const CHANNELS = CLASSES.map(channels)
const percent = (share) => `${(100 * share).toFixed(1)}\u202f%`

/** The page's colours, as numbers: canvases know no CSS variables. */
function paperOf(root) {
  const text = getComputedStyle(root).getPropertyValue("--st-background-color").trim() || "#FFFFFF"
  return /^#[0-9a-f]{6}$/i.test(text) ? channels(text) : [255, 255, 255]
}

/** The plane with the colours that a network gives it, its neurons' lines, and points. */
class PlaneMap {
  constructor(parent, title, { small = false } = {}) {
    this.root = element("figure", parent, { class: small ? "map map-small" : "map" })
    this.title = element("figcaption", this.root, {}, title)
    const box = element("div", this.root, { class: "map-box", role: "img" })
    this.box = box
    this.canvas = element("canvas", box, { width: CELLS, height: CELLS })
    this.svg = shape("svg", box, { viewBox: `${-REACH} ${-REACH} ${2 * REACH} ${2 * REACH}`, "aria-hidden": "true" })
    this.lines = shape("g", this.svg)
    this.marks = shape("g", this.svg)
    this.note = element("div", this.root, { class: "map-note" })
  }

  points({ x, y }) {
    this.marks.replaceChildren()
    x.forEach(([a, b], n) => shape("path", this.marks, {
      d: MARKS[y[n]], transform: `translate(${a} ${-b})`, fill: CLASSES[y[n]], class: "map-point",
    }))
  }

  /** network: null for none. focus: the number of a neuron, or -1. lines: whether to draw the neurons' lines. */
  draw(network, { lines = false, focus = -1, alt = "", note = "" } = {}) {
    this.box.setAttribute("aria-label", alt)
    this.note.textContent = note
    if (!network) return this.canvas.getContext("2d").clearRect(0, 0, CELLS, CELLS)
    const paper = paperOf(this.root)
    if (this.coloured !== network || String(this.paper) !== String(paper)) this.colour(network, paper)
    this.lines.replaceChildren()
    this.numbers = []
    if (lines) network.w1.forEach((w, i) => this.line(w, network.b1[i], i, focus))
  }

  colour(network, paper) {
    this.coloured = network
    this.paper = paper
    const context = this.canvas.getContext("2d")
    const image = context.createImageData(CELLS, CELLS)
    const { w1, b1, w2, b2 } = network
    const [width, classes] = [b1.length, b2.length]
    const hidden = new Float64Array(width)
    const logits = new Float64Array(classes)
    const shares = new Float64Array(classes)
    for (let row = 0; row < CELLS; row += 1) {
      const b = REACH - ((row + 0.5) * 2 * REACH) / CELLS
      for (let column = 0; column < CELLS; column += 1) {
        const a = -REACH + ((column + 0.5) * 2 * REACH) / CELLS
        for (let i = 0; i < width; i += 1) hidden[i] = Math.max(0, w1[i][0] * a + w1[i][1] * b + b1[i])
        let top = -Infinity
        for (let c = 0; c < classes; c += 1) {
          let value = b2[c]
          for (let i = 0; i < width; i += 1) value += w2[c][i] * hidden[i]
          logits[c] = value
          if (value > top) top = value
        }
        let total = 0
        for (let c = 0; c < classes; c += 1) total += (shares[c] = Math.exp(logits[c] - top))
        const sure = (1 / total - 1 / classes) / (1 - 1 / classes)
        const ink = 0.12 + 0.5 * sure
        const at = 4 * (row * CELLS + column)
        for (let channel = 0; channel < 3; channel += 1) {
          let colour = 0
          for (let c = 0; c < classes; c += 1) colour += (shares[c] / total) * CHANNELS[c][channel]
          image.data[at + channel] = ink * colour + (1 - ink) * paper[channel]
        }
        image.data[at + 3] = 255
      }
    }
    context.putImageData(image, 0, 0)
  }

  /** Where a neuron begins to answer: the line w x + b = 0, with ticks on the side on which it answers. */
  line([a, b], bias, number, focus) {
    const length = Math.hypot(a, b)
    if (length < 1e-9 || Math.abs(bias) / length > 1.45 * REACH) return
    const [nx, ny] = [a / length, b / length]
    const [px, py] = [(-bias / length) * nx, (-bias / length) * ny]
    const chosen = number === focus
    const look = { class: chosen ? "neuron-line chosen" : "neuron-line", "data-dim": focus >= 0 && !chosen }
    const far = 3 * REACH
    shape("line", this.lines, {
      x1: px - far * ny, y1: -(py + far * nx), x2: px + far * ny, y2: -(py - far * nx), ...look,
    })
    if (chosen) {
      for (let at = -4; at <= 4; at += 0.3) {
        const [x, y] = [px - at * ny, py + at * nx]
        shape("line", this.lines, { x1: x, y1: -y, x2: x + 0.16 * nx, y2: -(y + 0.16 * ny), ...look })
      }
    }
    if (focus >= 0 && !chosen) return
    // Its number stands towards the rim, at the end that is farther from the numbers that stand there already.
    const reach = Math.sqrt(Math.max(0, (0.88 * REACH) ** 2 - px * px - py * py))
    const places = [reach, -reach].map((at) => [px - at * ny, py + at * nx].map((v) => Math.max(-2.75, Math.min(2.75, v))))
    const room = ([x, y]) => Math.min(9, ...this.numbers.map(([a_, b_]) => Math.hypot(x - a_, y - b_)))
    const [x, y] = room(places[0]) >= room(places[1]) ? places[0] : places[1]
    this.numbers.push([x, y])
    shape("text", this.lines, { x, y: -y + 0.08, class: "neuron-number" }, String(number + 1))
  }
}

/** A neuron as a small picture of where in the plane it answers, and how strongly. */
function drawNeuron(canvas, w, bias, colour, most) {
  const size = canvas.width
  const context = canvas.getContext("2d")
  const [paper, ink, image] = [paperOf(canvas), channels(colour), context.createImageData(size, size)]
  for (let row = 0; row < size; row += 1) {
    const y = REACH - ((row + 0.5) * 2 * REACH) / size
    for (let column = 0; column < size; column += 1) {
      const x = -REACH + ((column + 0.5) * 2 * REACH) / size
      const share = Math.min(1, Math.max(0, w[0] * x + w[1] * y + bias) / most)
      const at = 4 * (row * size + column)
      for (let c = 0; c < 3; c += 1) image.data[at + c] = share * ink[c] + (1 - share) * paper[c]
      image.data[at + 3] = 255
    }
  }
  context.putImageData(image, 0, 0)
}

/** The largest answer of a neuron in the plane, so that pictures of neurons can be compared. */
const strongest = ({ w1, b1 }) =>
  Math.max(1e-9, ...w1.map(([a, b], i) => REACH * (Math.abs(a) + Math.abs(b)) + b1[i])) * 0.7

const PARENT_COLOURS = ["#56B4E9", "#D55E00", "#CC79A7", "#7D8894"]
const NAMES = ["A", "B", "C", "D"]
const FUSED = "#8A95A2"

/** A row or column of neurons. press: what a press on one does, or null where they are only shown. */
class Neurons {
  constructor(parent, label, colour, press = null, className = "neurons") {
    this.colour = colour
    this.press = press
    this.root = element("div", parent, { class: className, role: press ? "group" : "img", "aria-label": label })
    this.items = []
  }

  draw(network, { numbers = null, chosen = -1, titles = null, alt = "" } = {}) {
    const [most, paper] = [strongest(network), String(paperOf(this.root))]
    const same = this.drawn === network && this.paper === paper
    this.drawn = network
    this.paper = paper
    while (this.items.length > network.b1.length) this.items.pop().root.remove()
    network.w1.forEach((w, i) => {
      if (!this.items[i]) {
        const root = element(this.press ? "button" : "div", this.root, { class: "neuron", ...(this.press ? { type: "button" } : {}) })
        if (this.press) root.onclick = () => this.press(i)
        root.style.borderColor = this.colour
        this.items[i] = { root, canvas: element("canvas", root, { width: 22, height: 22 }), name: element("span", root) }
      }
      const { root, canvas, name } = this.items[i]
      if (!same) drawNeuron(canvas, w, network.b1[i], this.colour, most)
      name.textContent = numbers ? numbers[i] : String(i + 1)
      if (this.press) {
        root.setAttribute("aria-pressed", i === chosen)
        root.setAttribute("aria-label", titles ? titles[i] : `Neuron ${i + 1}`)
      }
    })
    if (alt) this.root.setAttribute("aria-label", alt)
  }
}

/** Curves over the way from one network to another. series: [{name, values, colour, dash}]. */
class Curves {
  constructor(parent, title, unit) {
    this.root = element("figure", parent, { class: "curves" })
    element("figcaption", this.root, {}, title)
    this.svg = shape("svg", this.root, { viewBox: "0 0 400 150", role: "img" })
    this.legend = element("div", this.root, { class: "curves-legend" })
    this.unit = unit
  }

  draw(series, { at = null, alt = "", ends = ["A", "B"], low = 0, high = null } = {}) {
    this.svg.replaceChildren()
    this.svg.setAttribute("aria-label", alt)
    const top = high ?? Math.max(0.1, ...series.flatMap(({ values }) => values)) * 1.06
    const x = (share) => 40 + 350 * share
    const y = (value) => 128 - (118 * (value - low)) / (top - low)
    for (const part of [0, 0.5, 1]) {
      const value = low + part * (top - low)
      shape("line", this.svg, { x1: 40, x2: 390, y1: y(value), y2: y(value), class: "curves-grid" })
      shape("text", this.svg, { x: 35, y: y(value) + 4, class: "curves-tick", "text-anchor": "end" }, this.unit(value))
    }
    ends.forEach((name, i) => shape("text", this.svg, {
      x: x(i / (ends.length - 1)), y: 146, class: "curves-tick",
      "text-anchor": i === 0 ? "start" : i === ends.length - 1 ? "end" : "middle",
    }, name))
    this.legend.replaceChildren()
    for (const { name, values, colour, dash = "", width = 2.5 } of series) {
      const way = values.map((value, i) => `${i ? "L" : "M"}${x(i / (values.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`)
      shape("path", this.svg, { d: way.join(""), class: "curve", "stroke-dasharray": dash, "stroke-width": width })
        .style.stroke = colour
      const item = element("span", this.legend)
      const sign = shape("svg", item, { viewBox: "0 0 24 8", class: "curves-sign", "aria-hidden": "true" })
      shape("path", sign, { d: "M0 4H24", class: "curve", "stroke-dasharray": dash, "stroke-width": width }).style.stroke = colour
      element("span", item, {}, name)
    }
    if (at !== null) {
      const { values, colour } = series[0]
      const place = at * (values.length - 1)
      const [before, after] = [values[Math.floor(place)], values[Math.ceil(place)]]
      const value = before + (after - before) * (place - Math.floor(place))
      shape("line", this.svg, { x1: x(at), x2: x(at), y1: 10, y2: 128, class: "curves-at" })
      shape("circle", this.svg, { cx: x(at), cy: y(value), r: 6, class: "curves-dot" }).style.fill = colour
    }
  }
}

/** Accuracies as bars with their figures. */
class Bars {
  constructor(parent, title) {
    this.root = element("figure", parent, { class: "bars" })
    element("figcaption", this.root, {}, title)
    this.list = element("div", this.root, { class: "bars-list" })
  }

  draw(rows) {
    this.list.replaceChildren()
    for (const { name, share, colour, strong } of rows) {
      const row = element("div", this.list, { class: strong ? "bar strong" : "bar" })
      element("span", row, { class: "bar-name" }, name)
      const track = element("span", row, { class: "bar-track" })
      const fill = element("i", track)
      fill.style.width = `${100 * share}%`
      fill.style.background = colour
      element("span", row, { class: "bar-value" }, percent(share))
    }
  }
}

/** A slider with its name and its value in words. slide: what a drag does; done: what its end does. */
function slider(parent, label, { min = 0, max, step = 1, value, ends = ["", ""] }, words, slide, done) {
  const root = element("label", parent, { class: "slider" })
  const head = element("span", root, { class: "slider-head" })
  element("span", head, {}, label)
  const said = element("output", head)
  const row = element("span", root, { class: "slider-row" })
  element("span", row, {}, ends[0])
  const input = element("input", row, { type: "range", min, max, step, "aria-label": label })
  element("span", row, {}, ends[1])
  input.value = value
  const say = () => {
    said.textContent = words(Number(input.value))
    input.setAttribute("aria-valuetext", said.textContent)
  }
  input.oninput = () => { say(); slide(Number(input.value)) }
  input.onchange = () => done(Number(input.value))
  say()
  return input
}

/** Buttons of which one is chosen. options: [[value, label]]. */
function switcher(parent, label, options, value, choose) {
  const root = element("div", parent, { class: "switcher", role: "radiogroup", "aria-label": label })
  const buttons = options.map(([option, text]) => {
    const button = element("button", root, { type: "button", role: "radio" }, text)
    button.onclick = () => { mark(option); choose(option) }
    return [option, button]
  })
  const mark = (chosen) => buttons.forEach(([option, button]) => {
    button.setAttribute("aria-checked", option === chosen)
    button.tabIndex = option === chosen ? 0 : -1
  })
  root.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    if (!step) return
    event.preventDefault()
    const at = buttons.findIndex(([, button]) => button === document.activeElement)
    const [option, button] = buttons[(at + step + buttons.length) % buttons.length]
    button.focus()
    mark(option)
    choose(option)
  }
  mark(value)
  return mark
}
