// The arithmetic of fusing tiny networks, as the engine does it: tests hold every function here against the engine.
//
// A network is {w1: (h, inputs), b1: (h), w2: (classes, h), b2: (classes)}: logits = w2 relu(w1 x + b1) + b2. Labels say
// for every parent which group each of its neurons is in; weights say how much each neuron counts in its group.

const sum = (values) => values.reduce((total, value) => total + value, 0)
const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0)
const zeros = (rows, columns) => Array.from({ length: rows }, () => new Array(columns).fill(0))
export const range = (count) => Array.from({ length: count }, (_, i) => i)

/** What a network makes of a point: pre-activations and activations of its hidden neurons, and its logits. */
export function forward(network, x) {
  const pre = network.w1.map((row, i) => dot(row, x) + network.b1[i])
  const hidden = pre.map((value) => Math.max(0, value))
  return { pre, hidden, logits: network.w2.map((row, c) => dot(row, hidden) + network.b2[c]) }
}

export const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0)

export function softmax(logits) {
  const top = Math.max(...logits)
  const powers = logits.map((value) => Math.exp(value - top))
  const total = sum(powers)
  return powers.map((value) => value / total)
}

/** Accuracy, and mean cross entropy in nats. */
export function measure(network, points) {
  let right = 0
  let loss = 0
  points.x.forEach((x, n) => {
    const { logits } = forward(network, x)
    const top = Math.max(...logits)
    loss += top + Math.log(sum(logits.map((value) => Math.exp(value - top)))) - logits[points.y[n]]
    right += largest(logits) === points.y[n]
  })
  return { accuracy: right / points.x.length, loss: loss / points.x.length }
}

/** The same network with its hidden neurons in another order: place g holds the neuron order[g]. */
export const permuted = (network, order) => ({
  w1: order.map((i) => network.w1[i]), b1: order.map((i) => network.b1[i]),
  w2: network.w2.map((row) => order.map((i) => row[i])), b2: network.b2,
})

/** The mean of networks, weight by weight, with shares that sum to one. */
export function mixed(networks, shares) {
  const vector = (key) => networks[0][key].map((_, i) => sum(networks.map((net, p) => shares[p] * net[key][i])))
  const matrix = (key) => networks[0][key].map((row, i) =>
    row.map((_, j) => sum(networks.map((net, p) => shares[p] * net[key][i][j]))))
  return { w1: matrix("w1"), b1: vector("b1"), w2: matrix("w2"), b2: vector("b2") }
}

export const averaged = (networks) => mixed(networks, networks.map(() => 1 / networks.length))

/** Accuracy and loss along the straight line from one network to another. */
export function path(first, second, points, steps) {
  const found = { alphas: [], loss: [], accuracy: [] }
  for (const step of range(steps)) {
    const alpha = step / (steps - 1)
    const { loss, accuracy } = measure(mixed([first, second], [1 - alpha, alpha]), points)
    found.alphas.push(alpha)
    found.loss.push(loss)
    found.accuracy.push(accuracy)
  }
  return { ...found, barrier: barrier(found.alphas, found.loss) }
}

/** How far the loss rises above the line between the ends of a path. */
export const barrier = (alphas, loss) =>
  Math.max(0, ...alphas.map((a, i) => loss[i] - ((1 - a) * loss[0] + a * loss[loss.length - 1])))

/** (neurons, points): what the neurons of a network answer. kind: pre or hidden. */
function features(network, xs, kind) {
  const found = zeros(network.b1.length, xs.length)
  xs.forEach((x, n) => forward(network, x)[kind].forEach((value, i) => { found[i][n] = value }))
  return found
}

/** Mean absolute pre-activation of every neuron. */
export const importance = (network, xs) =>
  features(network, xs, "pre").map((row) => Math.max(1e-8, sum(row.map(Math.abs)) / row.length))

/** (h, h) Pearson correlations of the activations of two networks, 0 for neurons that never vary. */
export function correlations(reference, network, xs) {
  const standard = (row) => {
    const mean = sum(row) / row.length
    const square = dot(row, row) / row.length
    const variance = square - mean * mean
    return variance <= 1e-5 * square ? row.map(() => 0) : row.map((v) => (v - mean) / Math.sqrt(variance * row.length))
  }
  const [a, b] = [reference, network].map((net) => features(net, xs, "hidden").map(standard))
  return a.map((row) => b.map((other) => dot(row, other)))
}

/** Which neuron of `network` stands best for each of the reference's: activation matching, one to one. */
export function matched(reference, network, xs) {
  const length = (row) => Math.sqrt(dot(row, row)) || 1
  const [a, b] = [reference, network].map((net) => features(net, xs, "hidden").map((row) => {
    const own = length(row)
    return row.map((value) => value / own)
  }))
  // As in the engine, the cosine decides between neurons that never vary.
  return assigned(correlations(reference, network, xs).map((row, i) => row.map((c, j) => c + 1e-6 * dot(a[i], b[j]))))
}

/** The one-to-one assignment of columns to rows with the largest total gain (Kuhn-Munkres with potentials). */
export function assigned(gains) {
  const n = gains.length
  const u = new Array(n + 1).fill(0)
  const v = new Array(n + 1).fill(0)
  const rowOf = new Array(n + 1).fill(0)
  const before = new Array(n + 1).fill(0)
  for (let row = 1; row <= n; row += 1) {
    rowOf[0] = row
    let column = 0
    const least = new Array(n + 1).fill(Infinity)
    const used = new Array(n + 1).fill(false)
    do {
      used[column] = true
      const at = rowOf[column]
      let step = Infinity
      let next = 0
      for (let j = 1; j <= n; j += 1) {
        if (used[j]) continue
        const cost = -gains[at - 1][j - 1] - u[at] - v[j]
        if (cost < least[j]) { least[j] = cost; before[j] = column }
        if (least[j] < step) { step = least[j]; next = j }
      }
      for (let j = 0; j <= n; j += 1) {
        if (used[j]) { u[rowOf[j]] += step; v[j] -= step } else least[j] -= step
      }
      column = next
    } while (rowOf[column] !== 0)
    do {
      const earlier = before[column]
      rowOf[column] = rowOf[earlier]
      column = earlier
    } while (column)
  }
  const found = new Array(n)
  for (let j = 1; j <= n; j += 1) found[rowOf[j] - 1] = j - 1
  return found
}

/** Labels by orders: the neuron orders[p][g] of parent p is in group g. */
export const labelsOf = (orders) => orders.map((order) => {
  const labels = new Array(order.length)
  order.forEach((neuron, group) => { labels[neuron] = group })
  return labels
})

/** Importance-weighted k-means over the neurons of all networks, by their pre-activations on the points: the first centre
 * is the heaviest neuron, each next one the farthest by weighted distance, then Lloyd's steps. Labels, one list a parent. */
export function kmeans(networks, weights, groups, xs) {
  const rows = networks.flatMap((net) => features(net, xs, "pre"))
  const w = weights.flat()
  const gram = rows.map((a) => rows.map((b) => dot(a, b)))
  const own = gram.map((row, i) => row[i])
  const heavier = (i, j) => w[i] > w[j] || (w[i] === w[j] && own[i] >= own[j])
  const centres = [range(rows.length).reduce((best, i) => (heavier(i, best) ? i : best), 0)]
  let nearest = rows.map(() => Infinity)
  while (centres.length < groups) {
    const last = centres[centres.length - 1]
    nearest = nearest.map((d, i) => Math.min(d, Math.max(0, own[i] + own[last] - 2 * gram[last][i])))
    for (const centre of centres) nearest[centre] = 0
    const score = nearest.map((d, i) => d * w[i])
    const far = largest(score)
    centres.push(score[far] > 0 ? far : range(rows.length).find((i) => !centres.includes(i)))
  }
  let cross = centres.map((i) => gram[i])
  let norms = centres.map((i) => own[i])
  let labels = []
  for (let turn = 0; turn < 100; turn += 1) {
    const fresh = rows.map((_, i) => largest(cross.map((row, g) => 2 * row[i] - norms[g])))
    const served = rows.map((_, i) => w[i] * Math.max(0, norms[fresh[i]] - 2 * cross[fresh[i]][i] + own[i]))
    fill(fresh, served, groups)
    if (fresh.every((group, i) => group === labels[i])) break
    labels = fresh
    const members = range(groups).map((g) => range(rows.length).filter((i) => labels[i] === g))
    const shares = members.map((group) => {
      const total = sum(group.map((i) => w[i]))
      return group.map((i) => w[i] / total)
    })
    cross = members.map((group, g) => rows.map((_, j) => sum(group.map((i, m) => shares[g][m] * gram[i][j]))))
    norms = members.map((group, g) => sum(group.map((i, m) => shares[g][m] * cross[g][i])))
  }
  let first = 0
  return networks.map((net) => labels.slice(first, (first += net.b1.length)))
}

/** Give each empty group, in place, the worst-served neuron of a group that has more than one. */
function fill(labels, served, groups) {
  const sizes = range(groups).map((g) => labels.filter((label) => label === g).length)
  const order = range(labels.length).sort((i, j) => served[j] - served[i] || i - j)
  for (const group of range(groups).filter((g) => !sizes[g])) {
    const neuron = order.splice(order.findIndex((i) => sizes[labels[i]] > 1), 1)[0]
    sizes[labels[neuron]] -= 1
    labels[neuron] = group
    sizes[group] = 1
  }
}

/** One network of `groups` neurons: each the weighted mean of its group; what it sends on is the mean over the parents of
 * what their neurons of that group send on. Groups without a neuron are silent. */
export function merged(networks, labels, weights, groups) {
  const count = networks.length
  const inputs = networks[0].w1[0].length
  const classes = networks[0].b2.length
  const totals = new Array(groups).fill(0)
  labels.forEach((own, p) => own.forEach((g, i) => { totals[g] += weights[p][i] }))
  const [w1, b1, w2] = [zeros(groups, inputs), new Array(groups).fill(0), zeros(classes, groups)]
  networks.forEach((net, p) => labels[p].forEach((g, i) => {
    const share = weights[p][i] / totals[g]
    net.w1[i].forEach((value, d) => { w1[g][d] += share * value })
    b1[g] += share * net.b1[i]
    for (const c of range(classes)) w2[c][g] += net.w2[c][i] / count
  }))
  return { w1, b1, w2, b2: networks[0].b2.map((_, c) => sum(networks.map((net) => net.b2[c])) / count) }
}

/** `start` with its output layer solved for: the weights that best give the mean logits of the networks from the start's
 * own hidden neurons on the points, drawn towards the start's by `ridge`, relative to the mean square of those neurons. */
export function solved(start, networks, xs, ridge) {
  const hidden = xs.map((x) => forward(start, x).hidden)
  const rows = hidden.map((row) => [...row, 1])
  const wanted = xs.map((x) => averagedLogits(networks, x))
  const size = rows[0].length
  const entries = hidden.length * (size - 1)
  const scale = Math.max(sum(hidden.map((row) => dot(row, row))) / entries, Number.MIN_VALUE) * rows.length
  const gram = zeros(size, size)
  for (const row of rows) for (const i of range(size)) for (const j of range(size)) gram[i][j] += row[i] * row[j]
  for (const i of range(size)) gram[i][i] += ridge * scale
  const w2 = []
  const b2 = []
  start.w2.forEach((weights, c) => {
    const before = [...weights, start.b2[c]]
    const right = new Array(size).fill(0)
    rows.forEach((row, n) => {
      const residual = wanted[n][c] - dot(row, before)
      row.forEach((value, i) => { right[i] += value * residual })
    })
    const after = solution(gram, right).map((change, i) => before[i] + change)
    w2.push(after.slice(0, -1))
    b2.push(after[size - 1])
  })
  return { w1: start.w1, b1: start.b1, w2, b2 }
}

export function averagedLogits(networks, x) {
  const all = networks.map((net) => forward(net, x).logits)
  return all[0].map((_, c) => sum(all.map((logits) => logits[c])) / all.length)
}

/** Solve a symmetric positive definite system (Cholesky). */
export function solution(matrix, right) {
  const n = right.length
  const l = zeros(n, n)
  for (const i of range(n)) {
    for (let j = 0; j <= i; j += 1) {
      let value = matrix[i][j]
      for (let k = 0; k < j; k += 1) value -= l[i][k] * l[j][k]
      l[i][j] = i === j ? Math.sqrt(Math.max(value, 1e-300)) : value / l[j][j]
    }
  }
  const y = []
  for (const i of range(n)) y.push((right[i] - sum(range(i).map((k) => l[i][k] * y[k]))) / l[i][i])
  const x = new Array(n)
  for (const i of range(n).reverse()) {
    x[i] = (y[i] - sum(range(n - 1 - i).map((k) => l[i + 1 + k][i] * x[i + 1 + k]))) / l[i][i]
  }
  return x
}

/** What a recipe of the lesson makes of the first `count` networks. grouping: average, pairs or kmeans. */
export function fused(networks, { grouping, weighted = true, solve = false, ridge }, xs, groups = networks[0].b1.length) {
  const even = networks.map((net) => net.b1.map(() => 1))
  let labels = networks.map((net) => range(net.b1.length))
  let weights = even
  if (grouping === "pairs") {
    const orders = networks.map((net, p) => (p ? matched(networks[0], net, xs) : range(net.b1.length)))
    labels = labelsOf(orders)
  } else if (grouping === "kmeans") {
    weights = weighted ? networks.map((net) => importance(net, xs)) : even
    labels = kmeans(networks, weights, groups, xs)
  }
  const network = merged(networks, labels, weights, groups)
  return { network: solve ? solved(network, networks, xs, ridge) : network, labels }
}

/** A fully connected network of any depth with ReLU between its layers: what every layer gives. layers: [{w, b}]. */
export function run(layers, x) {
  const outputs = []
  layers.forEach(({ w, b }, depth) => {
    const input = depth ? outputs[depth - 1] : x
    const values = w.map((row, i) => dot(row, input) + b[i])
    outputs.push(depth < layers.length - 1 ? values.map((value) => Math.max(0, value)) : values)
  })
  return outputs
}

/** A drawing of 32 x 32 dots as the 8 x 8 counts of scikit-learn's digits, 0 to 16: dots in each block of 4 x 4. */
export function counted(dots) {
  const counts = new Array(64).fill(0)
  dots.forEach((dot_, n) => { if (dot_) counts[8 * Math.floor(n / 128) + Math.floor((n % 32) / 4)] += 1 })
  return counts
}

/** Counts 0 to 16 as a network reads them: bytes as the data set keeps them, scaled to [0, 1] and normalised. */
export const normalised = (counts, mean, std) => counts.map((n) => (Math.round((n * 255) / 16) / 255 - mean) / std)
