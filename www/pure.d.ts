/** What pure modules use of the platform; every platform of JavaScript has it. Only www/tsconfig.pure.json reads this. */
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}
/** Opaque here: a pure module may pass them on, and no more. */
declare type File = object;
declare type AbortSignal = object;

/** Only passed on. */
interface Blob {
  readonly size: number;
}
