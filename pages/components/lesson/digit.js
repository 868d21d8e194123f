// A digit drawn by hand, run through parents and the fused network: neuron by neuron, and group by group.

const GRID = 32
const TOLD = 5
const digits = new WeakMap()
const PARENTS_IN_ORDER = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7D8894"]

function unpacked({ shape: [rows, columns], w, b }) {
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer)
  const values = floats(w)
  return { w: range(rows).map((i) => Array.from(values.subarray(i * columns, (i + 1) * columns))), b: Array.from(floats(b)) }
}

/** A drawing as scikit-learn's digits are made: cut out, scaled to fill the height or the width of 32 x 32 dots, and put in
 * the middle. strokes: lists of [x, y] in [0, 1]. */
export function dotted(strokes) {
  const dots = new Array(GRID * GRID).fill(false)
  const all = strokes.flat()
  if (!all.length) return dots
  const [xs, ys] = [all.map(([x]) => x), all.map(([, y]) => y)]
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
  const scale = 30 / Math.max(right - left, bottom - top, 0.05)
  const at = ([x, y]) => [16 + (x - (left + right) / 2) * scale, 16 + (y - (top + bottom) / 2) * scale]
  const spot = ([cx, cy]) => {
    for (let y = Math.floor(cy - 3); y <= cy + 3; y += 1) {
      for (let x = Math.floor(cx - 3); x <= cx + 3; x += 1) {
        if (x >= 0 && y >= 0 && x < GRID && y < GRID && Math.hypot(x + 0.5 - cx, y + 0.5 - cy) <= 2.5) dots[GRID * y + x] = true
      }
    }
  }
  for (const stroke of strokes) {
    stroke.forEach((point, n) => {
      const [to, from] = [at(point), at(stroke[Math.max(0, n - 1)])]
      const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])))
      for (let k = 0; k <= steps; k += 1) spot([0, 1].map((i) => from[i] + ((to[i] - from[i]) * k) / steps))
    })
  }
  return dots
}

// A two that is there from the start, so that there is something to see, and for who draws with the keyboard.
const SAMPLES = {
  2: [[[.3, .3], [.36, .2], [.5, .16], [.63, .22], [.67, .36], [.6, .5], [.45, .65], [.3, .84], [.5, .84], [.72, .82]]],
  1: [[[.4, .3], [.54, .16], [.54, .5], [.54, .85]]],
  3: [[[.32, .22], [.5, .15], [.65, .24], [.6, .42], [.47, .48], [.63, .56], [.68, .7], [.55, .84], [.32, .8]]],
  4: [[[.55, .15], [.42, .38], [.3, .6], [.5, .62], [.74, .6]], [[.6, .42], [.58, .65], [.57, .87]]],
  7: [[[.3, .18], [.5, .18], [.7, .18], [.6, .4], [.5, .62], [.44, .85]]],
  0: [[[.5, .15], [.36, .24], [.3, .45], [.33, .7], [.48, .85], [.63, .75], [.7, .5], [.66, .27], [.5, .15]]],
}

class Digit {
  constructor(parent) {
    this.root = element("div", parent, { class: "lesson digit" })
    this.scheme = window.matchMedia("(prefers-color-scheme: dark)")
    this.redraw = () => requestAnimationFrame(() => this.show())
    this.scheme.addEventListener("change", this.redraw)
  }

  update(data) {
    if (this.content === data.content) return this.show()
    this.content = data.content
    this.data = data
    this.networks = [...data.parents, data.fused].map((layers) => layers.map(unpacked))
    this.names = [...data.names, "fused"]
    this.strokes = SAMPLES[2].map((stroke) => stroke.slice())
    this.level = 0
    this.group = -1
    this.build()
    this.show()
  }

  build() {
    this.root.replaceChildren()
    const row = element("div", this.root, { class: "digit-row" })
    const left = element("div", row, { class: "digit-left" })
    const box = element("div", left, { class: "digit-pad", role: "img" })
    this.pad = element("canvas", box, { width: 224, height: 224 })
    this.box = box
    const buttons = element("div", left, { class: "lesson-buttons" })
    const clear = element("button", buttons, { type: "button", class: "lesson-button" }, "Clear")
    clear.onclick = () => { this.strokes = []; this.show() }
    const samples = element("div", left, { class: "lesson-buttons", role: "group", "aria-label": "Digits drawn before" })
    for (const name of Object.keys(SAMPLES)) {
      const button = element("button", samples, { type: "button", class: "lesson-button", "aria-label": `A drawn ${name}` }, name)
      button.onclick = () => { this.strokes = SAMPLES[name].map((stroke) => stroke.slice()); this.show() }
    }
    const seen = element("div", left, { class: "digit-seen" })
    element("span", seen, {}, "in 8 × 8 pixels")
    this.seen = element("canvas", seen, { width: 8, height: 8, role: "img", "aria-label": "The drawing in 8 by 8 pixels" })
    const point = (event) => {
      const area = box.getBoundingClientRect()
      return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]
    }
    box.onpointerdown = (event) => {
      box.setPointerCapture(event.pointerId)
      this.strokes.push([point(event)])
      this.show()
    }
    box.onpointermove = (event) => {
      if (!event.buttons || !this.strokes.length) return
      this.strokes[this.strokes.length - 1].push(point(event))
      this.show()
    }
    const right = element("div", row, { class: "digit-nets" })
    const controls = element("div", right, { class: "lesson-controls" })
    const depth = this.data.labels.length
    if (depth > 1) {
      switcher(controls, "Layer of the group", range(depth).map((level) => [String(level), `Layer ${level + 1}`]), "0",
        (level) => { this.level = Number(level); this.group = Math.min(this.group, this.groups() - 1); this.slide(); this.show() })
    }
    this.holder = element("div", controls, { class: "digit-slider" })
    this.slide()
    this.rows = this.names.map((name, p) => {
      const isFused = p === this.names.length - 1
      const line = element("div", right, { class: isFused ? "net fused" : "net" })
      element("b", line, { class: "net-name" }, isFused ? `◆ ${name}` : name)
      const colour = isFused ? FUSED : PARENTS_IN_ORDER[p % 8]
      const layers = this.networks[p].slice(0, -1).map((layer, level) => {
        const canvas = element("canvas", line, { class: "net-layer", role: "img" })
        canvas.onclick = (event) => this.pick(p, level, event)
        canvas.title = "Press a neuron to see its group"
        return canvas
      })
      const outputs = element("div", line, { class: "net-outputs", role: "img" })
      const bars = range(10).map((digit) => {
        const bar = element("span", outputs)
        element("i", bar)
        element("small", bar, {}, String(digit))
        return bar
      })
      return { layers, outputs, bars, answer: element("span", line, { class: "net-answer" }), colour, isFused }
    })
    this.spoken = element("p", right, { class: "lesson-said", "aria-live": "polite" })
  }

  groups() {
    return this.networks[this.networks.length - 1][this.level].b.length
  }

  slide() {
    this.holder.replaceChildren()
    slider(this.holder, "Group", { min: 0, max: this.groups(), value: this.group + 1, ends: ["none", String(this.groups())] },
      (n) => (n ? `group ${n} of layer ${this.level + 1}` : "neuron by neuron"), (n) => { this.group = n - 1; this.show() }, () => {})
  }

  /** Which group a neuron is in; of the fused network it is the neuron itself. */
  groupOf(p, level, neuron) {
    return p < this.data.labels[level].length ? this.data.labels[level][p][neuron] : neuron
  }

  pick(p, level, event) {
    const canvas = this.rows[p].layers[level]
    const [columns, rows] = this.table(p, level)
    const area = canvas.getBoundingClientRect()
    const [x, y] = [Math.floor(((event.clientX - area.left) / area.width) * columns), Math.floor(((event.clientY - area.top) / area.height) * rows)]
    const neuron = y * columns + x
    if (neuron >= this.networks[p][level].b.length) return
    const changed = this.level !== level
    this.level = level
    this.group = this.groupOf(p, level, neuron)
    if (changed) this.root.querySelectorAll("[role=radio]").forEach((button, i) => button.setAttribute("aria-checked", i === level))
    this.slide()
    this.show()
  }

  table(p, level) {
    const count = this.networks[p][level].b.length
    const columns = Math.min(16, Math.ceil(Math.sqrt(count * 2)))
    return [columns, Math.ceil(count / columns)]
  }

  show() {
    if (!this.data) return
    const dots = dotted(this.strokes)
    const counts = counted(dots)
    this.paint(counts)
    const input = normalised(counts, this.data.mean, this.data.std)
    const outputs = this.networks.map((layers) => run(layers, input))
    const told = []
    this.rows.forEach((row, p) => {
      row.layers.forEach((canvas, level) => this.layer(canvas, p, level, outputs[p][level], row.colour))
      const shares = softmax(outputs[p][outputs[p].length - 1])
      const best = largest(shares)
      row.bars.forEach((bar, digit) => {
        bar.firstChild.style.height = `${Math.max(2, 100 * shares[digit])}%`
        bar.firstChild.style.background = row.colour
        bar.classList.toggle("best", digit === best)
      })
      const says = `${best}, ${percent(shares[best])} sure`
      row.outputs.setAttribute("aria-label", `${this.names[p]} says ${says}`)
      row.answer.textContent = `${best} · ${Math.round(100 * shares[best])}\u202f%`
      told.push(`${this.names[p]} ${best}`)
    })
    this.box.setAttribute("aria-label", `Area to draw a digit in. ${told.join(", ")}.`)
    if (this.group < 0) {
      this.spoken.textContent = `Each square is a neuron and what it answers. ${told.join(", ")}.`
    } else {
      const all = this.data.labels[this.level].flatMap((own, p) => own.flatMap((g, i) =>
        g === this.group ? [{ name: `${this.names[p]}:${i}`, value: outputs[p][this.level][i] }] : []))
      all.sort((one, other) => other.value - one.value)
      const members = all.slice(0, TOLD).map(({ name, value }) => `${name} ${value.toFixed(2)}`)
      if (all.length > TOLD) members.push(`${all.length - TOLD} more that answer less`)
      const merged_ = outputs[outputs.length - 1][this.level][this.group]
      this.spoken.textContent = `Group ${this.group + 1} of layer ${this.level + 1}: ${members.join(", ") || "no neuron"}; `
        + `the fused neuron answers ${merged_.toFixed(2)}.`
    }
    this.root.dataset.answers = told.join(";")
  }

  layer(canvas, p, level, values, colour) {
    const cell = 10
    const [columns, rows] = this.table(p, level)
    canvas.width = columns * cell
    canvas.height = rows * cell
    const context = canvas.getContext("2d")
    const [paper, ink] = [paperOf(this.root), channels(colour)]
    const most = Math.max(1e-9, ...values)
    const active = values.filter((value) => value > 0).length
    values.forEach((value, i) => {
      const share = 0.08 + 0.92 * Math.max(0, value / most)
      context.fillStyle = `rgb(${ink.map((part, c) => Math.round(share * part + (1 - share) * paper[c]))})`
      const [x, y] = [(i % columns) * cell, Math.floor(i / columns) * cell]
      context.fillRect(x + 0.5, y + 0.5, cell - 1, cell - 1)
      if (level === this.level && this.groupOf(p, level, i) === this.group && this.group >= 0) {
        context.lineWidth = 2.5
        context.strokeStyle = getComputedStyle(this.root).color
        context.strokeRect(x + 1.2, y + 1.2, cell - 2.4, cell - 2.4)
      }
    })
    canvas.setAttribute("aria-label", `${this.names[p]}, layer ${level + 1}: ${active} of ${values.length} neurons answer`)
  }

  paint(counts) {
    const context = this.pad.getContext("2d")
    const size = this.pad.width
    context.clearRect(0, 0, size, size)
    Object.assign(context, { lineWidth: 17, lineCap: "round", lineJoin: "round", strokeStyle: getComputedStyle(this.root).color })
    for (const stroke of this.strokes) {
      context.beginPath()
      stroke.forEach(([x, y], n) => (n ? context.lineTo(x * size, y * size) : context.moveTo(x * size, y * size)))
      if (stroke.length === 1) context.lineTo(stroke[0][0] * size + 0.1, stroke[0][1] * size)
      context.stroke()
    }
    const small = this.seen.getContext("2d")
    const image = small.createImageData(8, 8)
    const [paper, ink] = [paperOf(this.root), channels("#7D8894")]
    counts.forEach((n, i) => {
      for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = (n / 16) * ink[c] + (1 - n / 16) * paper[c]
      image.data[4 * i + 3] = 255
    })
    small.putImageData(image, 0, 0)
  }

  close() {
    this.scheme.removeEventListener("change", this.redraw)
    this.root.remove()
  }
}

export default function ({ data, parentElement }) {
  if (!digits.has(parentElement)) digits.set(parentElement, new Digit(parentElement))
  digits.get(parentElement).update(data)
  return () => {
    digits.get(parentElement).close()
    digits.delete(parentElement)
  }
}
