// Neurons in the plane, or in space. Python sends points and what they are to look like; all drawing, highlighting and
// toggling happens here, and only what the reader has done goes back: a focus, a selection, the parents shown.
//
// data: see component.py. Points go by place in its arrays; `index` is what Python calls them.

const SHAPES = [
  "M0-5A5 5 0 1 1 0 5A5 5 0 1 1 0-5Z", "M-4.5-4.5H4.5V4.5H-4.5Z", "M0-6L6 0L0 6L-6 0Z", "M0-5.5L5.5 4.5H-5.5Z",
  "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", "M0-2.8L3.6-6L6-3.6L2.8 0L6 3.6L3.6 6L0 2.8L-3.6 6L-6 3.6L-2.8 0L-6-3.6L-3.6-6Z",
  "M0-6.5L1.6-2H6.3L2.5 .9L3.9 5.4L0 2.7L-3.9 5.4L-2.5 .9L-6.3-2H-1.6Z", "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9Z",
]
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon"]
// In space Plotly has only these.
const SYMBOLS_3D = ["circle", "square", "diamond", "circle-open", "cross", "x", "square-open", "diamond-open"]
const OTHER = "#7D8894" // 3.6:1 on white, 5:1 on the dark theme's black
const FAINT = "rgba(125, 136, 148, 0.4)"
const SVG_LIMIT = 4096 // on a machine without a graphics card WebGL takes longer
const TOOLS = [
  ["lasso", "Lasso", "Draw around neurons to select them; with Shift they are added"],
  ["select", "Box", "Draw a box around neurons to select them; with Shift they are added"],
  ["zoom", "Zoom", "Draw a box to look closer"],
  ["pan", "Pan", "Move the picture"],
]
const DECODED = { f4: Float32Array, i4: Int32Array, u1: Uint8Array }
const planes = new WeakMap()

/** Plotly as Streamlit ships it for its own charts: the same module, so it is loaded once and kept by the browser. */
let loading
function plotly(chunk) {
  loading ??= (async () => {
    if (!window.Plotly) {
      const main = document.querySelector('script[type="module"][src*="/js/"]')
      await import(new URL(chunk, main.src).href)
    }
    return window.Plotly
  })()
  return loading
}

/** The points named `content`, which their own element brings: see points.js. */
function pointsOf(content) {
  const points = (window.fusionPlanePoints ??= { known: new Map(), waiting: new Map() })
  const known = points.known.get(content)
  if (known) return known
  return new Promise((arrived) => points.waiting.set(content, [...(points.waiting.get(content) ?? []), arrived]))
}

function decoded([kind, text]) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))
  return Array.from(new DECODED[kind](bytes.buffer))
}

function element(tag, parent, attributes = {}, text = "") {
  const made = parent.appendChild(document.createElement(tag))
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.textContent = text
  return made
}

// What Plotly shows is read as a little HTML: names are to be shown as they are.
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")

function mixed(stops, share) {
  const place = Math.min(1, Math.max(0, share)) * (stops.length - 1)
  const low = Math.min(stops.length - 2, Math.floor(place))
  const channel = (colour, at) => parseInt(colour.slice(at, at + 2), 16)
  const parts = [1, 3, 5].map((at) => {
    const [from, to] = [channel(stops[low], at), channel(stops[low + 1], at)]
    return Math.round(from + (to - from) * (place - low))
  })
  return `rgb(${parts})`
}

class Plane {
  constructor(root) {
    this.root = element("div", root, { class: "plane" })
    this.head = element("div", this.root, { class: "plane-head" })
    this.tools = element("div", this.head, { class: "plane-tools", role: "toolbar", "aria-label": "Tools" })
    this.parents = element("div", this.head, { class: "plane-parents", role: "group", "aria-label": "Parents shown" })
    this.chart = element("div", this.root, { class: "plane-chart", role: "figure" })
    this.key = element("div", this.root, { class: "plane-key" })
    this.tool = "lasso"
    this.observer = new ResizeObserver(() => this.drawn && this.plotly.Plots.resize(this.chart))
    this.observer.observe(this.chart)
  }

  async update(data, send) {
    this.send = send
    this.asked = data
    this.plotly = await plotly(data.plotly)
    const points = this.data?.content === data.content ? null : await pointsOf(data.content)
    if (this.gone || this.asked !== data) return
    if (points) this.read(JSON.parse(points))
    this.data = data
    this.values = decoded(data.colour.values)
    this.selected = new Set(data.selected)
    this.focus = data.focus
    this.hidden = new Set(data.hidden)
    this.chart.setAttribute("aria-label", data.alt)
    this.named = new Map()
    for (const [name, members] of data.labels) {
      for (const index of members) this.named.set(index, [...(this.named.get(index) ?? []), name])
    }
    this.toolbar()
    this.legend()
    await this.draw()
  }

  /** The points themselves, which stay the same while one looks at them. */
  read(points) {
    const columns = Object.entries(points.columns).map(([name, packed]) => [name, decoded(packed)])
    this.points = Object.fromEntries(columns)
    this.names = points.names
    this.axes = points.axes
    this.deep = "z" in this.points
    this.place = new Map(this.points.index.map((index, place) => [index, place]))
    const largest = Math.max(1e-12, ...this.points.importance)
    this.sizes = this.points.importance.map((value) => 7 + 7 * Math.sqrt(Math.max(0, value) / largest))
    this.revision = (this.revision ?? 0) + 1
  }

  look() {
    const style = getComputedStyle(this.root)
    return {
      ink: style.getPropertyValue("--st-text-color").trim() || "#1B1F24",
      paper: style.getPropertyValue("--st-background-color").trim() || "#FFFFFF",
      font: style.fontFamily,
    }
  }

  colour(place) {
    const { colour } = this.data
    const value = this.values[place]
    if (colour.kind === "scale") {
      return Number.isNaN(value) ? OTHER : mixed(colour.palette, (value - colour.low) / (colour.high - colour.low || 1))
    }
    const chosen = colour.palette[value]
    return chosen === undefined ? OTHER : chosen === "#000000" ? this.ink : chosen
  }

  text(place) {
    const { points, data } = this
    const value = this.values[place]
    const lines = [
      `<b>${escaped(this.names[points.parent[place]])}:${points.neuron[place]}</b>`,
      points.group[place] < 0 ? "in no group" : `group ${points.group[place]}`,
      `importance ${points.importance[place].toPrecision(3)}`,
    ]
    if (data.colour.kind === "scale" && data.colour.title !== "Importance") {
      lines.push(`${escaped(data.colour.title)}: ${Number.isNaN(value) ? "none" : value.toPrecision(3)}`)
    }
    if (data.colour.tell) {
      lines.push(`${escaped(data.colour.title)}: ${escaped(data.colour.names[value] ?? data.colour.other)}`)
    }
    for (const name of this.named.get(points.index[place]) ?? []) lines.push(escaped(name))
    return lines.join("<br>")
  }

  toolbar() {
    const tools = this.deep ? [] : TOOLS
    if (this.tools.dataset.deep !== String(this.deep)) {
      this.tools.dataset.deep = this.deep
      this.tools.replaceChildren()
      for (const [tool, label, help] of tools) {
        const button = element("button", this.tools, { type: "button", title: help, "data-tool": tool }, label)
        button.onclick = () => this.take(tool)
      }
      const whole = { type: "button", title: "Show all neurons again" }
      element("button", this.tools, whole, "Whole").onclick = () => this.whole()
      this.clearing = element("button", this.tools, { type: "button", title: "Select nothing (double click)" }, "Clear")
      this.clearing.onclick = () => this.choose([])
    }
    for (const button of this.tools.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === this.tool)
    }
    this.clearing.disabled = !this.selected.size
  }

  take(tool) {
    this.tool = tool
    this.toolbar()
    this.plotly.relayout(this.chart, { dragmode: tool })
  }

  whole() {
    this.revision += 1
    this.draw()
  }

  /** Which symbol is which parent, in neutral ink, and what colours mean. */
  legend() {
    const { colour } = this.data
    this.parents.replaceChildren()
    this.names.forEach((name, number) => {
      const on = !this.hidden.has(number)
      const button = element("button", this.parents, {
        type: "button", "aria-pressed": on, title: on ? `Hide the neurons of ${name}` : `Show the neurons of ${name}`,
      })
      const symbol = (this.deep ? SYMBOLS_3D : SYMBOLS)[number % 8]
      const shape = SHAPES[SYMBOLS.indexOf(symbol.replace("-open", ""))]
      const open = symbol.endsWith("-open") ? ' class="plane-open"' : ""
      button.innerHTML = `<svg viewBox="-8 -8 16 16" aria-hidden="true"><path${open} d="${shape}"/></svg>`
      element("span", button, {}, name)
      button.onclick = () => {
        on ? this.hidden.add(number) : this.hidden.delete(number)
        this.legend()
        this.draw()
        this.send({ event: "hide", parents: [...this.hidden].sort((a, b) => a - b) })
      }
    })
    this.key.replaceChildren()
    element("b", this.key, {}, colour.title)
    if (colour.kind === "scale") {
      element("span", this.key, {}, colour.low.toPrecision(3))
      const bar = element("span", this.key, { class: "plane-bar" })
      bar.style.background = `linear-gradient(90deg, ${colour.palette})`
      element("span", this.key, {}, colour.high.toPrecision(3))
    } else {
      colour.names.forEach((name, number) => this.chip(colour.palette[number], name))
    }
    if (colour.other) this.chip(OTHER, colour.other)
  }

  chip(colour, name) {
    const item = element("span", this.key, { class: "plane-chip" })
    element("i", item).style.background = { "#000000": "currentColor", [OTHER]: FAINT }[colour] ?? colour
    element("span", item, {}, name)
  }

  async draw() {
    const { ink, paper, font } = this.look()
    this.ink = ink
    const { points, deep } = this
    const kind = deep ? "scatter3d" : points.x.length > SVG_LIMIT ? "scattergl" : "scatter"
    const shown = (place) => !this.hidden.has(points.parent[place])
    const order = [...points.x.keys()].filter(shown)
    const colours = points.x.map((_, place) => this.colour(place))
    // Coloured marks lie above grey ones, selected marks above all.
    order.sort((a, b) => (colours[a] !== OTHER) - (colours[b] !== OTHER) || a - b)
    const base = { ink, paper, colours, kind }
    const traces = [this.links(order, kind, ink)]
    this.names.forEach((name, number) => {
      traces.push(this.marks(name, number, order.filter((p) => points.parent[p] === number), base, false))
    })
    this.names.forEach((name, number) => {
      const chosen = order.filter((p) => points.parent[p] === number && this.selected.has(points.index[p]))
      traces.push(this.marks(name, number, chosen, base, true))
    })
    traces.push(this.ring(kind, ink, shown))
    const layout = this.layout(ink, paper, font)
    if (deep) layout.scene.annotations = this.written(ink, paper, shown)
    else layout.annotations = this.written(ink, paper, shown)
    await this.plotly.react(this.chart, traces, layout, {
      displayModeBar: false, doubleClick: false, plotlyServerURL: "", showTips: false,
    })
    if (!this.drawn) this.listen()
    this.drawn = true
    this.root.dataset.drawn = points.x.length
    this.root.dataset.content = this.data.content
    this.root.dataset.selected = this.selected.size
  }

  at(places) {
    const coordinates = { x: places.map((p) => this.points.x[p]), y: places.map((p) => this.points.y[p]) }
    return this.deep ? { ...coordinates, z: places.map((p) => this.points.z[p]) } : coordinates
  }

  marks(name, number, places, { ink, colours, kind }, chosen) {
    const look = { marker: { opacity: 1 } }
    return {
      ...this.at(places), type: kind, mode: "markers", name, showlegend: false,
      marker: {
        symbol: (this.deep ? SYMBOLS_3D : SYMBOLS)[number % 8], opacity: 1,
        size: places.map((p) => (this.sizes[p] + (chosen ? 4 : 0)) * (this.deep ? 0.6 : 1)),
        // Grey marks are faint inside, so that coloured ones stand out; their outline is what contrast asks for.
        color: places.map((p) => (colours[p] === OTHER ? FAINT : colours[p])), line: { color: chosen ? ink : OTHER, width: chosen ? 2.5 : 1 },
      },
      customdata: places.map((p) => this.points.index[p]), text: places.map((p) => this.text(p)),
      hovertemplate: "%{text}<extra></extra>",
      ...(this.deep ? {} : { selected: look, unselected: look }),
    }
  }

  /** Lines from each neuron to the middle of its group. */
  links(order, kind, ink) {
    const { points, deep } = this
    const axes = deep ? ["x", "y", "z"] : ["x", "y"]
    const groups = new Map()
    for (const place of order) {
      const group = points.group[place]
      if (group >= 0) groups.set(group, [...(groups.get(group) ?? []), place])
    }
    const lines = Object.fromEntries(axes.map((axis) => [axis, []]))
    for (const members of groups.values()) {
      if (members.length < 2) continue
      for (const axis of axes) {
        const middle = members.reduce((sum, place) => sum + points[axis][place], 0) / members.length
        for (const place of members) lines[axis].push(middle, points[axis][place], null)
      }
    }
    const line = { color: ink, width: 1 }
    return { ...lines, type: kind, mode: "lines", line, opacity: 0.22, hoverinfo: "skip", showlegend: false }
  }

  ring(kind, ink, shown) {
    const place = this.focus === null ? undefined : this.place.get(this.focus)
    const marker = { symbol: "circle-open", size: this.deep ? 20 : 24, color: ink, line: { width: 2.5, color: ink } }
    const places = place !== undefined && shown(place) ? [place] : []
    // In space the ring covers the neuron for the pointer too, so it answers for it.
    const told = this.deep
      ? { customdata: [this.focus], text: places.map((p) => this.text(p)), hovertemplate: "%{text}<extra></extra>" }
      : { hoverinfo: "skip" }
    return { ...this.at(places), type: kind, mode: "markers", marker, showlegend: false, ...told }
  }

  /** The names that the reader gave, each in the middle of its neurons. */
  written(ink, paper, shown) {
    const axes = this.deep ? ["x", "y", "z"] : ["x", "y"]
    const middle = (places, axis) => places.reduce((sum, p) => sum + this.points[axis][p], 0) / places.length
    return this.data.labels
      .map(([name, members]) => [name, members.map((index) => this.place.get(index)).filter((p) => p >= 0 && shown(p))])
      .filter(([, places]) => places.length)
      .map(([name, places]) => ({
        ...Object.fromEntries(axes.map((axis) => [axis, middle(places, axis)])), text: escaped(name), showarrow: false,
        bgcolor: paper, opacity: 0.9, bordercolor: OTHER, borderpad: 2, font: { size: 12, color: ink },
      }))
  }

  layout(ink, paper, font) {
    const grid = `color-mix(in srgb, ${ink} 12%, ${paper})`
    const faint = this.plain(grid)
    const axis = (title) => ({
      title: { text: title, font: { size: 13 }, standoff: 8 }, showticklabels: false, automargin: true,
      gridcolor: faint, zerolinecolor: faint, linecolor: faint, ticks: "",
    })
    const [x, y, z] = this.axes.map(axis)
    const common = {
      autosize: true, showlegend: false, margin: { l: 8, r: 8, t: 8, b: 8 }, uirevision: this.revision,
      // What is selected is marked; the outline it was drawn with would be read again with every change.
      selectionrevision: Math.random(), selections: [], font: { family: font, size: 13, color: ink }, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: paper, bordercolor: OTHER, font: { family: font, size: 13, color: ink }, align: "left" },
    }
    if (this.deep) {
      const [xaxis, yaxis, zaxis] = [x, y, z].map((each) => ({ ...each, showspikes: false }))
      return { ...common, scene: { xaxis, yaxis, zaxis } }
    }
    const outline = { line: { color: ink, width: 1.5, dash: "dot" } }
    return { ...common, xaxis: x, yaxis: y, dragmode: this.tool, clickmode: "event", newselection: outline }
  }

  /** A colour as Plotly reads it: it knows no color-mix. */
  plain(colour) {
    this.head.style.outlineColor = colour
    const [r, g, b] = getComputedStyle(this.head).outlineColor.match(/[\d.]+/g).map(Number)
    const scale = getComputedStyle(this.head).outlineColor.startsWith("color(") ? 255 : 1
    return `rgb(${[r, g, b].map((value) => Math.round(value * scale))})`
  }

  listen() {
    this.chart.addEventListener("pointerdown", (event) => {
      this.drawing = true
      this.adding = event.shiftKey
      this.pressed = { x: event.clientX, y: event.clientY, under: this.under }
    }, true)
    this.chart.on("plotly_click", ({ points, event }) => {
      this.drawing = false
      if (!this.deep) this.pick(points, event)
    })
    // In space Plotly misses clicks that are shorter than a frame: what lies under the pointer counts.
    this.chart.on("plotly_hover", ({ points }) => { this.under = points })
    this.chart.on("plotly_unhover", () => { this.under = null })
    this.chart.addEventListener("pointerup", (event) => {
      const { x, y, under } = this.pressed ?? {}
      if (this.deep && under && Math.hypot(event.clientX - x, event.clientY - y) < 4) this.pick(under, event)
    }, true)
    this.chart.on("plotly_selected", (drawn) => {
      if (!drawn || !this.drawing) return // Plotly tells it also when it draws what was selected before
      this.drawing = false
      const found = drawn.points.map((point) => point.customdata).filter((index) => index !== undefined)
      this.choose([...new Set(this.adding ? [...this.selected, ...found] : found)])
    })
    const clear = () => this.selected.size && this.choose([])
    this.chart.on("plotly_deselect", clear)
    this.chart.on("plotly_doubleclick", clear)
  }

  /** A click: look at a neuron; with Shift, add it to the selection or take it out. */
  pick(points, event) {
    const index = points.find((point) => point.customdata !== undefined)?.customdata
    if (index === undefined) return
    if (event?.shiftKey) {
      const chosen = new Set(this.selected)
      chosen.delete(index) || chosen.add(index)
      this.choose([...chosen])
    } else {
      this.focus = index
      this.draw()
      this.send({ event: "focus", index })
    }
  }

  choose(indices) {
    this.selected = new Set(indices)
    this.toolbar()
    this.draw()
    this.send({ event: "select", indices: [...this.selected].sort((a, b) => a - b) })
  }

  close() {
    this.gone = true
    this.observer.disconnect()
    if (this.drawn) this.plotly.purge(this.chart)
    this.root.remove()
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!planes.has(parentElement)) planes.set(parentElement, new Plane(parentElement))
  const plane = planes.get(parentElement)
  plane.update(data, (done) => setTriggerValue("done", done))
  return () => {
    planes.delete(parentElement)
    plane.close()
  }
}
