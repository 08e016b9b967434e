/** Bytes to a listening port that no well-behaved client would send, and what comes back before the line is cut. */
import { connect, type Socket } from "node:net"

export interface Line {
  readonly socket: Socket
  /** All that was answered, once the other side has closed or the deadline has passed. */
  readonly answer: Promise<{ readonly text: string; readonly cut: boolean }>
}

/** Opens a line and says something; `write` more, or wait for the answer. */
export const line = (url: string, bytes: string | Buffer, deadlineMillis = 30_000): Line => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname, () => socket.write(bytes))
  let text = ""
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk
  })
  const answer = new Promise<{ text: string; cut: boolean }>((resolve) => {
    const late = setTimeout(() => {
      resolve({ text, cut: false })
      socket.destroy()
    }, deadlineMillis)
    // A reset is one way to be cut.
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(late)
      resolve({ text, cut: true })
    })
  })
  return { socket, answer }
}

/** One request on a line of its own; the answer's status and all of its text, head included. */
export const exchange = async (url: string, bytes: string | Buffer): Promise<{ readonly status: number; readonly text: string }> => {
  const { text } = await line(url, bytes).answer
  return { status: Number(/^HTTP\/1\.1 (\d{3})/u.exec(text)?.[1] ?? 0), text }
}
