// The lessons' live pictures, one a chapter. A chapter is a function of its place, the lesson and what its control says
// at first (`at`, from the address); it calls keep(at) when the control has come to rest, and may return redraw().

const measured = new WeakMap() // networks that stay the same are measured once
function said(network, points) {
  if (!measured.has(network)) measured.set(network, measure(network, points))
  const { accuracy, loss } = measured.get(network)
  return { accuracy, loss, text: `${percent(accuracy)} right, loss ${loss.toFixed(2)}` }
}
const whole = (text, low, high, otherwise) => (/^\d{1,3}$/.test(text) && text >= low && text <= high ? Number(text) : otherwise)
const networksOf = (lesson) => lesson.parents.map((parent) => parent.network)
const live = (root) => element("p", root, { class: "lesson-said", "aria-live": "polite" })

/** (1) Two networks, their boundaries and their hidden neurons as lines. */
function problem(root, lesson, at, keep) {
  let focus = whole(at, 0, lesson.width, 0)
  const [a, b] = networksOf(lesson)
  const controls = element("div", root, { class: "lesson-controls" })
  const row = element("div", root, { class: "lesson-row" })
  const maps = [a, b].map((network, p) => {
    const column = element("div", row, { class: "lesson-column" })
    const map = new PlaneMap(column, `Network ${NAMES[p]}`)
    map.points(lesson.train)
    const neurons = new Neurons(column, `Neurons of ${NAMES[p]}`, PARENT_COLOURS[p], (i) => choose(focus === i + 1 ? 0 : i + 1))
    return { network, map, neurons }
  })
  const input = slider(controls, "Hidden neuron", { max: lesson.width, value: focus, ends: ["all", String(lesson.width)] },
    (n) => (n ? `neuron ${n} of A and of B` : "all lines"), (n) => { focus = n; draw() }, (n) => keep(String(n)))
  const spoken = live(root)
  function choose(n) {
    input.value = n
    input.oninput()
    keep(String(n))
  }
  function draw() {
    maps.forEach(({ network, map, neurons }, p) => {
      const { text } = said(network, lesson.test)
      map.draw(network, {
        lines: true, focus: focus - 1, note: text,
        alt: `The plane as network ${NAMES[p]} colours it, with the line of ${focus ? `neuron ${focus}` : "every hidden neuron"}. ${text}.`,
      })
      neurons.draw(network, { chosen: focus - 1, titles: network.b1.map((_, i) => `Neuron ${i + 1} of ${NAMES[p]}`) })
    })
    const formula = (net) => `max(0, ${net.w1[focus - 1].map((w, d) => `${w.toFixed(2)} ${"xy"[d]}`).join(" + ")} + ${net.b1[focus - 1].toFixed(2)})`
      .replaceAll("+ -", "− ").replaceAll("-", "−")
    spoken.textContent = focus
      ? `Neuron ${focus} of A answers ${formula(a)}, neuron ${focus} of B ${formula(b)}: the same place in the list, other lines.`
      : "Each line is where one hidden neuron begins to answer; ticks show its side."
  }
  draw()
  return draw
}

/** A fixed list of exchanges, so that the same place of the slider always gives the same order. */
function shuffles(width, count) {
  const order = range(width)
  let seed = 12345
  const next = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648, Math.floor((seed / 2147483648) * n))
  for (let turn = 0; turn < count; turn += 1) {
    const i = next(width)
    const j = (i + 1 + next(width - 1)) % width
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}

/** (2) Exchange neurons of a network with all their weights: nothing changes. */
function permute(root, lesson, at, keep) {
  let swaps = whole(at, 0, 20, 0)
  const [a] = networksOf(lesson)
  const controls = element("div", root, { class: "lesson-controls" })
  const row = element("div", root, { class: "lesson-row" })
  const sides = ["Network A", "A with its neurons exchanged"].map((title) => {
    const column = element("div", row, { class: "lesson-column" })
    const map = new PlaneMap(column, title)
    map.points(lesson.train)
    return { map, neurons: new Neurons(column, "Neurons in their order", PARENT_COLOURS[0]) }
  })
  slider(controls, "Exchanges", { max: 20, value: swaps }, (n) => `${n} made`, (n) => { swaps = n; draw() },
    (n) => keep(String(n)))
  const spoken = live(root)
  const before = lesson.test.x.map((x) => forward(a, x).logits)
  function draw() {
    const order = shuffles(lesson.width, swaps)
    const other = permuted(a, order)
    let change = 0
    let moved = 0
    lesson.test.x.forEach((x, n) => {
      const after = forward(other, x).logits
      before[n].forEach((value, c) => { change = Math.max(change, Math.abs(value - after[c])) })
    })
    a.w1.forEach((w, i) => w.forEach((value, d) => { moved += (value - other.w1[i][d]) ** 2 }))
    ;[a, other].forEach((network, side) => {
      const { text } = said(network, lesson.test)
      sides[side].map.draw(network, { lines: true, note: text, alt: `${side ? "The network with its neurons exchanged" : "Network A"}. ${text}.` })
      sides[side].neurons.draw(network, {
        numbers: side ? order.map((i) => String(i + 1)) : null,
        alt: `Order of the neurons: ${side ? order.map((i) => i + 1).join(", ") : "as they are"}`,
      })
    })
    spoken.textContent = `First layer's weights moved by ${Math.sqrt(moved).toFixed(2)}; `
      + `outputs on ${lesson.test.x.length} points changed by ${change < 1e-9 ? "0 (within rounding)" : change.toPrecision(2)}.`
  }
  draw()
  return draw
}

/** (3) Average two networks: the way from A to B, with the barrier on it. */
function average(root, lesson, at, keep) {
  let step = whole(at, 0, 40, 20)
  const [a, b] = networksOf(lesson)
  const controls = element("div", root, { class: "lesson-controls" })
  const row = element("div", root, { class: "lesson-row lesson-middle" })
  const left = new PlaneMap(row, "Network A", { small: true })
  const middle = new PlaneMap(row, "Between them")
  const right = new PlaneMap(row, "Network B", { small: true })
  for (const map of [left, middle, right]) map.points(lesson.train)
  const curves = new Curves(root, "Loss on the way from A to B", (value) => value.toFixed(1))
  slider(controls, "From A to B", { max: 40, value: step, ends: ["A", "B"] },
    (n) => `${percent(1 - n / 40)} A, ${percent(n / 40)} B`, (n) => { step = n; draw() }, (n) => keep(String(n)))
  const spoken = live(root)
  const { as_is: way } = lesson.path
  const line = way.alphas.map((alpha) => (1 - alpha) * way.loss[0] + alpha * way.loss[way.loss.length - 1])
  function draw() {
    const alpha = step / 40
    const between = mixed([a, b], [1 - alpha, alpha])
    const now = said(between, lesson.test)
    left.draw(a, { note: percent(lesson.parents[0].accuracy), alt: "Network A" })
    right.draw(b, { note: percent(lesson.parents[1].accuracy), alt: "Network B" })
    middle.draw(between, { note: now.text, alt: `The network at ${percent(alpha)} of the way. ${now.text}.` })
    curves.draw([
      { name: "the network between", values: way.loss, colour: "#D55E00" },
      { name: "straight line between the ends", values: line, colour: "#7D8894", dash: "4 4", width: 1.5 },
    ], { at: alpha, ends: ["A", "half-way", "B"], alt: `Loss from A to B; the barrier is ${way.barrier.toFixed(2)} nats high.` })
    spoken.textContent = `Barrier: the loss rises ${way.barrier.toFixed(2)} nats above the line between the ends.`
  }
  draw()
  return draw
}

const readOrder = (text, width) => {
  const order = text.split(".").map(Number)
  return order.length === width && new Set(order).size === width && order.every((i) => i >= 0 && i < width) ? order : null
}

/** (4) Match the neurons, put a match wrong, average again. */
function match(root, lesson, at, keep) {
  const [a, b] = networksOf(lesson)
  const best = lesson.matched[1]
  let order = readOrder(at, lesson.width) ?? best.slice()
  let held = -1
  const controls = element("div", root, { class: "lesson-controls" })
  const starts = element("div", controls, { class: "lesson-buttons" })
  const button = (text, act) => { element("button", starts, { type: "button", class: "lesson-button" }, text).onclick = act }
  button("Match by activation", () => set(best.slice()))
  button("Leave as they are", () => set(range(lesson.width)))
  element("p", controls, { class: "lesson-hint" },
    "Drag a neuron of B onto another, or press one and then the other: they change places.")
  const row = element("div", root, { class: "lesson-row" })
  const pairs = element("div", row, { class: "lesson-pairs" })
  element("b", pairs, { class: "pairs-a" }, "A")
  const top = new Neurons(pairs, "Neurons of A", PARENT_COLOURS[0], null, "neurons pairs-row")
  const links = shape("svg", pairs, { class: "pairs-links", viewBox: `0 0 ${lesson.width * 10} 12`, preserveAspectRatio: "none", "aria-hidden": "true" })
  element("b", pairs, { class: "pairs-b" }, "B")
  const bottom = new Neurons(pairs, "Neurons of B under those of A that they are matched with", PARENT_COLOURS[1], press, "neurons pairs-row")
  element("b", pairs, { class: "pairs-c" }, "Mean")
  const means = new Neurons(pairs, "The averaged neurons", FUSED, null, "neurons pairs-row")
  const map = new PlaneMap(row, "Average of A and the matched B")
  map.points(lesson.train)
  const curves = new Curves(pairs, "Loss on the way from A to the matched B", (value) => value.toFixed(1))
  const spoken = live(root)
  const likeness = correlations(a, b, lesson.train.x)
  function set(next) {
    order = next
    held = -1
    draw()
    keep(order.join("."))
  }
  function exchange(i, j) {
    const next = order.slice()
    ;[next[i], next[j]] = [next[j], next[i]]
    set(next)
    bottom.items[j].root.focus()
  }
  function press(i) {
    if (dragged) return
    if (held < 0 || held === i) {
      held = held === i ? -1 : i
      draw()
    } else exchange(held, i)
  }
  let dragged = false
  bottom.root.addEventListener("pointerdown", (event) => {
    const from = bottom.items.findIndex(({ root: item }) => item.contains(event.target))
    if (from < 0) return
    dragged = false
    let over = from
    const near = (x) => bottom.items.reduce((best_, { root: item }, i) => {
      const box = item.getBoundingClientRect()
      const distance = Math.abs(x - box.left - box.width / 2)
      return distance < best_.distance ? { i, distance } : best_
    }, { i: from, distance: Infinity }).i
    const original = order.slice()
    const move = (moving) => {
      if (!dragged && Math.abs(moving.clientX - event.clientX) < 6) return
      dragged = true
      const now = near(moving.clientX)
      if (now === over) return
      over = now
      order = original.slice()
      ;[order[from], order[over]] = [order[over], order[from]]
      draw()
    }
    const end = () => {
      window.removeEventListener("pointermove", move)
      if (dragged) keep(order.join("."))
      setTimeout(() => { dragged = false })
    }
    window.addEventListener("pointermove", move)
    window.addEventListener("pointerup", end, { once: true })
  })
  function draw() {
    const other = permuted(b, order)
    const mean = averaged([a, other])
    const now = said(mean, lesson.test)
    const way = path(a, other, lesson.test, 21)
    const wrong = range(lesson.width).filter((i) => order[i] !== best[i])
    top.draw(a, { alt: "Neurons of A, 1 to " + lesson.width })
    bottom.draw(other, {
      numbers: order.map((i) => String(i + 1)), chosen: held,
      titles: order.map((i, place) => `Neuron ${i + 1} of B, matched with neuron ${place + 1} of A`),
    })
    means.draw(mean, { alt: "What the average makes of each pair" })
    links.replaceChildren()
    order.forEach((i, place) => shape("line", links, {
      x1: 10 * place + 5, x2: 10 * place + 5, y1: 0, y2: 12, class: wrong.includes(place) ? "pairs-link wrong" : "pairs-link",
      "stroke-width": 1 + 5 * Math.max(0, likeness[place][i]), "vector-effect": "non-scaling-stroke",
    }))
    map.draw(mean, { lines: true, note: now.text, alt: `The average of A and the matched B. ${now.text}.` })
    const was = lesson.path.as_is
    curves.draw([
      { name: "matched as above", values: way.loss, colour: "#0072B2" },
      { name: "not matched", values: was.loss, colour: "#D55E00", dash: "6 4", width: 2 },
    ], { at: 0.5, ends: ["A", "half-way", "B"], alt: `Barrier ${way.barrier.toFixed(2)} nats; not matched it is ${was.barrier.toFixed(2)}.` })
    spoken.textContent = `Barrier ${way.barrier.toFixed(2)} nats, not matched ${was.barrier.toFixed(2)}. `
      + (wrong.length ? `${wrong.length} of ${lesson.width} neurons of B stand elsewhere than activation matching puts them.`
        : "This is the matching that activations give.")
  }
  draw()
  return draw
}

const GROUPINGS = { pairs: ["pairs", true], even: ["kmeans", false], weighted: ["kmeans", true] }
const RECIPE_OF = { pairs: "pairs", even: "kmeans_uniform", weighted: "kmeans" }

/** (5) Pairs against k-means groups, with and without importance. */
function group(root, lesson, at, keep) {
  let way = Object.hasOwn(GROUPINGS, at) ? at : "pairs"
  const nets = networksOf(lesson).slice(0, 2)
  const controls = element("div", root, { class: "lesson-controls" })
  switcher(controls, "Grouping",
    [["pairs", "Pairs"], ["even", "k-means"], ["weighted", "k-means with importance"]], way,
    (chosen) => { way = chosen; draw(); keep(chosen) })
  const row = element("div", root, { class: "lesson-row" })
  const list = element("div", row, { class: "groups" })
  const map = new PlaneMap(row, "Fused network")
  map.points(lesson.train)
  const spoken = live(root)
  const heavy = nets.map((net) => importance(net, lesson.train.x))
  const heaviest = Math.max(...heavy.flat())
  function draw() {
    const [grouping, weighted] = GROUPINGS[way]
    const { network, labels } = fused(nets, { grouping, weighted }, lesson.train.x)
    const now = said(network, lesson.test)
    map.draw(network, { lines: true, note: now.text, alt: `The network fused from ${way === "pairs" ? "pairs" : "k-means groups"}. ${now.text}.` })
    list.replaceChildren()
    const most = strongest(network)
    const sizes = []
    range(lesson.width).forEach((g) => {
      const line = element("div", list, { class: "group" })
      element("span", line, { class: "group-name" }, `group ${g + 1}`)
      const members = element("span", line, { class: "group-members" })
      nets.forEach((net, p) => labels[p].forEach((label, i) => {
        if (label !== g) return
        const item = element("span", members, { class: "neuron" })
        item.style.borderColor = PARENT_COLOURS[p]
        drawNeuron(element("canvas", item, { width: 22, height: 22 }), net.w1[i], net.b1[i], PARENT_COLOURS[p], strongest(net))
        element("span", item, {}, `${NAMES[p]}${i + 1}`)
        const bar = element("i", item, { class: "neuron-weight", title: `importance ${heavy[p][i].toFixed(2)}` })
        bar.style.width = `${(100 * heavy[p][i]) / heaviest}%`
      }))
      sizes.push(members.childElementCount)
      const becomes = element("span", line, { class: "group-becomes" }, "→")
      const made = element("span", becomes, { class: "neuron" })
      made.style.borderColor = FUSED
      drawNeuron(element("canvas", made, { width: 22, height: 22 }), network.w1[g], network.b1[g], FUSED, most)
    })
    list.setAttribute("aria-label", `Groups of ${sizes.join(", ")} neurons`)
    list.setAttribute("role", "group")
    const all = Object.keys(GROUPINGS).map((key) => lesson.fused["2"][RECIPE_OF[key]].accuracy)
    spoken.textContent = `Groups of ${Math.min(...sizes)} to ${Math.max(...sizes)} neurons. Right answers: pairs ${percent(all[0])}, `
      + `k-means ${percent(all[1])}, with importance ${percent(all[2])}.`
  }
  draw()
  return draw
}

const ridgeOf = (n) => 10 ** (2 - n / 8)

/** (6) Solve for the output layer instead of averaging it. */
function solve(root, lesson, at, keep) {
  let step = whole(at, 0, 40, 0)
  const nets = networksOf(lesson).slice(0, 2)
  const controls = element("div", root, { class: "lesson-controls" })
  const row = element("div", root, { class: "lesson-row" })
  const map = new PlaneMap(row, "Fused network, neurons in pairs")
  map.points(lesson.train)
  const side = element("div", row, { class: "lesson-column" })
  const weights = new Bars(side, "Right answers")
  const curves = new Curves(side, "Right answers, from average to solved", (value) => `${Math.round(100 * value)}\u202f%`)
  const xs = lesson.train.x
  const start = fused(nets, { grouping: "pairs" }, xs).network
  const along = range(21).map((n) => measure(solved(start, nets, xs, ridgeOf(2 * n)), lesson.test).accuracy)
  slider(controls, "From averaging to solving", { max: 40, value: step, ends: ["average", "solve"] },
    (n) => `pull towards the average ${ridgeOf(n) >= 1 ? ridgeOf(n).toFixed(0) : ridgeOf(n).toPrecision(1)}`,
    (n) => { step = n; draw() }, (n) => keep(String(n)))
  const spoken = live(root)
  function draw() {
    const network = solved(start, nets, xs, ridgeOf(step))
    const now = said(network, lesson.test)
    map.draw(network, { lines: true, note: now.text, alt: `The network fused from pairs, its output layer between averaged and solved. ${now.text}.` })
    const known = lesson.fused["2"]
    weights.draw([
      { name: "A", share: lesson.parents[0].accuracy, colour: PARENT_COLOURS[0] },
      { name: "B", share: lesson.parents[1].accuracy, colour: PARENT_COLOURS[1] },
      { name: "pairs, averaged", share: known.pairs.accuracy, colour: "#7D8894" },
      { name: "pairs, solved", share: known.pairs_solved.accuracy, colour: "#0072B2" },
      { name: "here", share: now.accuracy, colour: "#009E73", strong: true },
    ])
    curves.draw([{ name: "fused network", values: along, colour: "#0072B2" }],
      { at: step / 40, low: 0, high: 1, ends: ["average", "solve"], alt: `Right answers rise from ${percent(along[0])} to ${percent(along[20])}.` })
    spoken.textContent = "The hidden neurons stay; only the weights from them to the output are found anew, from the points."
  }
  draw()
  return draw
}

/** (7) Three and four parents. */
function many(root, lesson, at, keep) {
  let count = whole(at, 2, 4, 3)
  const controls = element("div", root, { class: "lesson-controls" })
  switcher(controls, "Parents", [["2", "Two parents"], ["3", "Three"], ["4", "Four"]], String(count),
    (chosen) => { count = Number(chosen); draw(); keep(chosen) })
  const top = element("div", root, { class: "lesson-row lesson-strip" })
  const below = element("div", root, { class: "lesson-row lesson-strip" })
  const parents = NAMES.map((name) => new PlaneMap(top, `Network ${name}`, { small: true }))
  const recipes = [
    ["average", "Averaged", { grouping: "average" }], ["pairs", "Matched, averaged", { grouping: "pairs" }],
    ["kmeans", "k-means, averaged", { grouping: "kmeans" }],
    ["kmeans_solved", "k-means, solved", { grouping: "kmeans", solve: true, ridge: 1e-3 }],
  ]
  const maps = recipes.map(([, title]) => new PlaneMap(below, title, { small: true }))
  const spoken = live(root)
  function draw() {
    const nets = networksOf(lesson)
    nets.forEach((network, p) => {
      const used = p < count
      parents[p].root.classList.toggle("unused", !used)
      parents[p].draw(network, { note: used ? percent(lesson.parents[p].accuracy) : "not used", alt: `Network ${NAMES[p]}, ${used ? percent(lesson.parents[p].accuracy) : "not used"}` })
    })
    const found = recipes.map(([name, title, recipe], n) => {
      const { accuracy } = lesson.fused[count][name]
      maps[n].draw(fused(nets.slice(0, count), recipe, lesson.train.x).network,
        { note: percent(accuracy), alt: `${title}, ${count} parents: ${percent(accuracy)} right` })
      return `${title.toLowerCase()} ${percent(accuracy)}`
    })
    spoken.textContent = `${count} parents, one network of ${lesson.width} neurons: ${found.join("; ")}.`
  }
  draw()
  return draw
}

/** (8) Try to break it: fewer and fewer neurons for four parents. */
function breaking(root, lesson, at, keep) {
  const nets = networksOf(lesson)
  const most = 2 * lesson.width
  let groups = whole(at, 1, most, lesson.width)
  const controls = element("div", root, { class: "lesson-controls" })
  const row = element("div", root, { class: "lesson-row" })
  const column = element("div", row, { class: "lesson-column" })
  const map = new PlaneMap(column, "Four parents in one network: k-means, solved")
  map.points(lesson.train)
  const side = element("div", row, { class: "lesson-column" })
  const neurons = new Neurons(side, "Neurons of the fused network", FUSED)
  const curves = new Curves(side, "Right answers by number of neurons", (value) => `${Math.round(100 * value)}\u202f%`)
  const xs = lesson.train.x
  const plain = range(most).map((n) => fused(nets, { grouping: "kmeans" }, xs, n + 1).network)
  const made = plain.map((network) => solved(network, nets, xs, 1e-3)) // of the same groups
  const [solvedAll, averagedAll] = [made, plain].map((all) => all.map((net) => measure(net, lesson.test).accuracy))
  const enough = solvedAll.findIndex((share) => share >= 0.95) + 1
  slider(controls, "Neurons of the fused network", { min: 1, max: most, value: groups, ends: ["1", String(most)] },
    (n) => `${n} for the parents' ${nets.length} × ${lesson.width}`, (n) => { groups = n; draw() }, (n) => keep(String(n)))
  const spoken = live(root)
  function draw() {
    const network = made[groups - 1]
    const now = said(network, lesson.test)
    map.draw(network, { lines: true, note: now.text, alt: `${groups} fused neurons. ${now.text}.` })
    neurons.draw(network, { alt: `${groups} fused neurons` })
    curves.draw([
      { name: "k-means, solved", values: solvedAll, colour: "#0072B2" },
      { name: "k-means, averaged", values: averagedAll, colour: "#D55E00", dash: "6 4", width: 2 },
    ], { at: (groups - 1) / (most - 1), low: 0, high: 1, ends: ["1", String(Math.round(most / 2)), String(most)],
      alt: `Right answers from ${percent(solvedAll[0])} with one neuron to ${percent(solvedAll[most - 1])} with ${most}.` })
    spoken.textContent = enough
      ? `The first size with 95\u202f% right answers is ${enough}. Below it, lines are missing that no weights can replace.`
      : "No size up to here gives 95\u202f% right answers on these points."
  }
  draw()
  return draw
}

/** Own data: draw points for the engine to train networks on. */
function own(root, lesson, at, keep, send) {
  const most = 400
  let drawn = lesson.drawn ? lesson.train.x.map((x, n) => [...x, lesson.train.y[n]]) : []
  let colour = 0
  const controls = element("div", root, { class: "lesson-controls" })
  switcher(controls, "Class to draw", [["0", "● Blue"], ["1", "■ Orange"], ["2", "▲ Green"]], "0", (chosen) => { colour = Number(chosen) })
  const buttons = element("div", controls, { class: "lesson-buttons" })
  const button = (text, act) => {
    const made = element("button", buttons, { type: "button", class: "lesson-button" }, text)
    made.onclick = act
    return made
  }
  button("Undo", () => { drawn = drawn.slice(0, Math.max(0, drawn.length - 10)); draw() })
  button("Clear", () => { drawn = []; draw() })
  const train = button("Train four networks", () => send({ event: "train", points: drawn }))
  train.classList.add("primary")
  element("p", controls, { class: "lesson-hint" }, "Press and draw in the plane; or move the cross with the arrow keys and press Space.")
  const row = element("div", root, { class: "lesson-row" })
  const map = new PlaneMap(row, "Your points")
  map.box.tabIndex = 0
  map.box.setAttribute("role", "application")
  map.box.classList.add("drawable")
  const cross = shape("path", map.svg, { d: "M-.2 0H.2M0-.2V.2", class: "own-cross" })
  let [cx, cy] = [0, 0]
  const spoken = live(root)
  const spray = (x, y) => {
    for (let n = 0; n < 2 && drawn.length < most; n += 1) {
      const jitter = () => (Math.random() + Math.random() - 1) * 0.22
      const limit = (v) => Math.round(1e3 * Math.max(-2.95, Math.min(2.95, v))) / 1e3
      drawn.push([limit(x + jitter()), limit(y + jitter()), colour])
    }
    draw()
  }
  const place = (event) => {
    const box = map.box.getBoundingClientRect()
    return [((event.clientX - box.left) / box.width) * 2 * REACH - REACH, REACH - ((event.clientY - box.top) / box.height) * 2 * REACH]
  }
  let last = 0
  map.box.onpointerdown = (event) => { map.box.setPointerCapture(event.pointerId); map.box.focus(); spray(...place(event)) }
  map.box.onpointermove = (event) => {
    if (!event.buttons || event.timeStamp - last < 35) return
    last = event.timeStamp
    spray(...place(event))
  }
  map.box.onkeydown = (event) => {
    const step = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] }[event.key]
    if (!step && event.key !== " ") return
    event.preventDefault()
    if (event.key === " ") return spray(cx, cy)
    ;[cx, cy] = [Math.max(-2.8, Math.min(2.8, cx + step[0])), Math.max(-2.8, Math.min(2.8, cy + step[1]))]
    draw()
  }
  function draw() {
    map.points({ x: drawn.map(([x, y]) => [x, y]), y: drawn.map((point) => point[2]) })
    map.draw(null, { alt: `Drawing area with ${drawn.length} points` })
    cross.setAttribute("transform", `translate(${cx} ${-cy})`)
    const counts = [0, 1, 2].map((c) => drawn.filter((point) => point[2] === c).length)
    const kinds = counts.filter(Boolean).length
    const ready = kinds >= 2 && counts.every((n) => n === 0 || n >= 5) && counts.slice(0, kinds).every(Boolean)
    train.disabled = !ready
    spoken.textContent = `${drawn.length} of at most ${most} points (blue ${counts[0]}, orange ${counts[1]}, green ${counts[2]}). `
      + (ready ? "The engine trains four networks on them, in a job of a few seconds." : "At least blue and orange, with 5 points each.")
  }
  draw()
  return draw
}

const CHAPTERS = { problem, permute, average, match, group, solve, many, break: breaking, own }
const lessons = new WeakMap()

class Lesson {
  constructor(parent) {
    this.root = element("div", parent, { class: "lesson" })
    this.scheme = window.matchMedia("(prefers-color-scheme: dark)")
    this.redraw = () => requestAnimationFrame(() => this.draw?.())
    this.scheme.addEventListener("change", this.redraw)
  }

  update(data, send) {
    this.send = send
    if (this.content !== data.content || this.chapter !== data.chapter) {
      this.content = data.content
      this.chapter = data.chapter
      this.root.replaceChildren()
      this.root.dataset.ready = ""
      this.draw = CHAPTERS[data.chapter](this.root, data.lesson, data.at,
        (at) => this.send({ event: "at", chapter: data.chapter, at }), (what) => this.send(what))
      this.root.dataset.ready = data.chapter
    } else this.draw?.()
  }

  close() {
    this.scheme.removeEventListener("change", this.redraw)
    this.root.remove()
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  if (!lessons.has(parentElement)) lessons.set(parentElement, new Lesson(parentElement))
  const lesson = lessons.get(parentElement)
  lesson.update(data, (done) => setTriggerValue("done", done))
  return () => {
    lessons.delete(parentElement)
    lesson.close()
  }
}
