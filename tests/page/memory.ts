/** What a page and its worker hold: GPU buffers, heaps, listeners. */
import { expect, inWorker } from "./site.ts";
import type { Page } from "@playwright/test";

export const MIB = 1 << 20;

/** Counts the bytes of the worker's GPU buffers, before its script runs. */
const COUNT_BUFFERS = `
  const gpu = (globalThis.gpuBytes = { now: 0, peak: 0 });
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  const alive = new WeakSet();
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    alive.add(buffer);
    gpu.now += buffer.size;
    gpu.peak = Math.max(gpu.peak, gpu.now);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    if (alive.delete(this)) gpu.now -= this.size;
    return destroy.call(this);
  };
`;

/** Has the workers of this page count their buffers. */
export const countBuffers = (page: Page) => inWorker(page, COUNT_BUFFERS);

export const gpuBytes = (page: Page): Promise<{ now: number; peak: number }> =>
  page.workers()[0].evaluate(() => ({ ...(globalThis as any).gpuBytes }));

/**
 * The heap of the engine's worker now: JavaScript's objects, what its buffers hold, and the wasm memory. Units: bytes.
 * @param ask the worker's debugger
 */
export async function heapOf(page: Page, ask: (method: string) => Promise<any>) {
  const { usedSize, backingStorageSize } = await ask("Runtime.getHeapUsage");
  const wasm = await page.workers()[0].evaluate(async (url) => {
    const engine = await import(url);
    return (await engine.default()).memory.buffer.byteLength;
  }, new URL("loupe/loupe.js", page.url()).href);
  return usedSize + backingStorageSize + wasm;
}

/** A line to the debugger of the page's first worker. */
export async function workersDebugger(page: Page) {
  const session = await page.context().newCDPSession(page);
  const waiting = new Map();
  let worker = "";
  session.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => {
    if (targetInfo.type === "worker") worker ||= sessionId;
  });
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result);
    waiting.delete(id);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  await expect.poll(() => worker).not.toBe("");
  let n_asked = 0;
  return (method: string) =>
    new Promise((answer) => {
      const id = ++n_asked;
      waiting.set(id, answer);
      void session.send("Target.sendMessageToTarget", { sessionId: worker, message: JSON.stringify({ id, method }) });
    });
}
