/** Asks a running Node process for a full garbage collection, so that its memory tells what it holds and not what it has not thrown away. */
import type { Child } from "./child.ts"
import { pause } from "./child.ts"

/** Arguments for a process that will be asked. */
export const inspectable = ["--inspect=127.0.0.1:0"]

const collections = 3
/** Freed pages go back to the system a moment later. */
const settleMillis = 400

export interface Memory {
  readonly residentBytes: number
  /** Of the main thread, with what it holds outside the heap. */
  readonly heapBytes: number
}

interface Answer {
  readonly id?: number
  readonly result?: { readonly usedSize?: number; readonly embedderHeapUsedSize?: number; readonly backingStorageSize?: number }
}

/** The process's memory after full collections on its main thread. */
export const settledMemory = async (child: Child): Promise<Memory> => {
  const [, address] = await child.says(/Debugger listening on (ws:\/\/\S+)/u)
  const socket = new WebSocket(address!)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  let asked = 0
  const ask = (method: string): Promise<Answer> =>
    new Promise((resolve) => {
      const id = ++asked
      const hear = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data)) as Answer
        if (answer.id !== id) return
        socket.removeEventListener("message", hear)
        resolve(answer)
      }
      socket.addEventListener("message", hear)
      socket.send(JSON.stringify({ id, method }))
    })
  for (let done = 0; done < collections; done++) {
    await ask("HeapProfiler.collectGarbage")
    await pause(settleMillis)
  }
  const { result } = await ask("Runtime.getHeapUsage")
  socket.close()
  return {
    residentBytes: child.residentBytes(),
    heapBytes: (result?.usedSize ?? 0) + (result?.backingStorageSize ?? 0) + (result?.embedderHeapUsedSize ?? 0)
  }
}
