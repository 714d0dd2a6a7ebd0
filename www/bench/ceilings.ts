/** The most that the adapter reaches: a kernel that only multiplies and adds, and one that only copies. */

export interface Ceilings {
  /** in single precision */
  gflops: number;
  /** read and written */
  gb_per_second: number;
}

/** Chains of four numbers in an invocation, so that none waits for its last result. */
const CHAINS = 8;
/** Links of each chain in one round of the loop, so that the loop itself costs little. */
const ROUNDS = 4;
const WORKGROUP = 64;
/** Bytes that are copied at once: a dispatch has at most 65,535 workgroups. */
const COPIED = 32 << 20;
/** Pairs of buffers that are copied in turns, so that no cache holds them. */
const PAIRS = 4;
/** As long as a measurement is at least. */
const ENOUGH_MS = 25;
const MAX_DOUBLINGS = 16;
const STORAGE = 0x80;
const UNIFORM_AND_COPY_DST = 0x48;

const MULTIPLY = `
@group(0) @binding(0) var<uniform> n: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let a = vec4<f32>(0.999, 0.998, 0.997, 0.996);
  let b = vec4<f32>(1.0, 2.0, 3.0, 4.0) * (f32(at.x) * 1e-9);
  ${Array.from({ length: CHAINS }, (_, i) => `var x${i} = vec4<f32>(${i}.1, ${i}.2, ${i}.3, ${i}.4);`).join("\n  ")}
  for (var i = 0u; i < n.x; i++) {
    ${Array.from({ length: CHAINS * ROUNDS }, (_, i) => `x${i % CHAINS} = fma(x${i % CHAINS}, a, b);`).join("\n    ")}
  }
  y[at.x] = ${Array.from({ length: CHAINS }, (_, i) => `x${i}`).join(" + ")};
}`;

const COPY = `
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  y[at.x] = x[at.x];
}`;

/** The little of WebGPU that is used here, which TypeScript's declarations do not have yet. */
interface Gpu {
  requestAdapter(options: object): Promise<{ requestDevice(): Promise<Device> } | null>;
}
interface Device {
  createShaderModule(of: object): object;
  createComputePipeline(of: object): { getBindGroupLayout(i: number): object };
  createBindGroup(of: object): object;
  createBuffer(of: object): object;
  createCommandEncoder(): Encoder;
  queue: {
    submit(buffers: object[]): void;
    writeBuffer(buffer: object, at: number, data: Uint32Array): void;
    onSubmittedWorkDone(): Promise<void>;
  };
  destroy(): void;
}
interface Encoder {
  beginComputePass(): {
    setPipeline(pipeline: object): void;
    setBindGroup(i: number, group: object): void;
    dispatchWorkgroups(n: number): void;
    end(): void;
  };
  finish(): object;
}

/** Null without an adapter. */
export async function measureCeilings(): Promise<Ceilings | null> {
  const { gpu } = navigator as { gpu?: Gpu };
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return null;
  const device = await adapter.requestDevice();
  try {
    return { gflops: await multiply(device), gb_per_second: await copy(device) };
  } finally {
    device.destroy();
  }
}

/** A function that runs a kernel so many times, and resolves with the time that it took. */
function runner(device: Device, code: string, operands: object[][], n_workgroups: number) {
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const groups = operands.map((buffers) =>
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    }),
  );
  return async (times: number) => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    for (let i = 0; i < times; i++) {
      pass.setBindGroup(0, groups[i % groups.length]);
      pass.dispatchWorkgroups(n_workgroups);
    }
    pass.end();
    const start = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - start;
  };
}

/** The best of three runs of an amount of work that is doubled until it takes long enough. Units: of `run`, per ms. */
async function best(run: (amount: number) => Promise<number>) {
  let amount = 1;
  // The first run compiles.
  await run(amount);
  for (let i = 0; i < MAX_DOUBLINGS && (await run(amount)) < ENOUGH_MS; i++) amount *= 2;
  let least = Infinity;
  for (let i = 0; i < 3; i++) least = Math.min(least, await run(amount));
  return amount / least;
}

async function multiply(device: Device) {
  const n_workgroups = 4096;
  const invocations = n_workgroups * WORKGROUP;
  const n = device.createBuffer({ size: 16, usage: UNIFORM_AND_COPY_DST });
  const y = device.createBuffer({ size: 16 * invocations, usage: STORAGE });
  const run = runner(device, MULTIPLY, [[n, y]], n_workgroups);
  const per_ms = await best((amount) => {
    device.queue.writeBuffer(n, 0, Uint32Array.of(amount, 0, 0, 0));
    return run(1);
  });
  return (per_ms * invocations * CHAINS * ROUNDS * 4 * 2) / 1e6;
}

async function copy(device: Device) {
  const buffer = () => device.createBuffer({ size: COPIED, usage: STORAGE });
  const pairs = Array.from({ length: PAIRS }, () => [buffer(), buffer()]);
  const per_ms = await best(runner(device, COPY, pairs, COPIED / 16 / WORKGROUP));
  return (per_ms * 2 * COPIED) / 1e6;
}
