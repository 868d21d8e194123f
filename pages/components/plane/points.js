// Carries the points of a plane to it. They have an element of their own because they stay the same while colours and
// selections change: Streamlit sends a large element that has not changed as its hash, and the browser keeps it.

const KEPT = 3

export default function ({ data }) {
  const points = (window.fusionPlanePoints ??= { known: new Map(), waiting: new Map() })
  points.known.delete(data.content)
  points.known.set(data.content, data.points)
  for (const content of [...points.known.keys()].slice(0, -KEPT)) points.known.delete(content)
  points.waiting.get(data.content)?.forEach((arrived) => arrived(data.points))
  points.waiting.delete(data.content)
}
