import { pipeline, Readable, type Duplex } from 'node:stream';

export const CHUNK_BYTES = 256 * 1024;

/** Sends a stream through a transform. Errors of either reach the reader. */
export async function* through(source: AsyncIterable<Uint8Array>, transform: Duplex): AsyncGenerator<Uint8Array> {
  // Errors of the source reach the reader through the transform, which pipeline destroys with them.
  pipeline(Readable.from(source, { objectMode: false, highWaterMark: CHUNK_BYTES }), transform, () => undefined);
  for await (const chunk of transform) yield chunk as Uint8Array;
}
