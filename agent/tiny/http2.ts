import { TinyBuffer } from './buffer.ts';
import { Emitter } from './emitter.ts';
import { decodeFields, encodeFields } from './hpack.ts';
import {
  ACK,
  contentOf,
  CONTINUATION,
  DATA,
  encodeFrame,
  encodeSettings,
  END_HEADERS,
  END_STREAM,
  errorIn,
  expectSize,
  FrameReader,
  GOAWAY,
  HEADERS,
  increaseIn,
  MAX_PAYLOAD_BYTES,
  PING,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settingsIn,
  uint32,
  widened,
  WINDOW_UPDATE,
  type Frame,
} from './http2-frames.ts';
import { soon } from './loop.ts';
import type { Socket } from './net.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** Settings (RFC 9113, section 6.5.2). */
const HEADER_TABLE_SIZE = 1;
const ENABLE_PUSH = 2;
const INITIAL_WINDOW_SIZE = 4;
/** The size of windows before anybody has set another one. */
const FIRST_WINDOW = 65_535;
/** How much may come before we have read it, on a stream and on the connection. */
const WINDOW_BYTES = 1024 * 1024;
/** How large the header fields of one answer may be. */
const MAX_FIELDS_BYTES = 64 * 1024;
/** How many replies may wait for a peer that asks again and again, and reads nothing. */
const MAX_REPLIES = 1000;
const NO_ERROR = 0;
const CANCEL = 8;

export type IncomingHttpHeaders = Readonly<Record<string, string | undefined>>;
export type OutgoingHttpHeaders = Readonly<Record<string, string>>;

interface SessionEvents {
  error: Error;
  close: undefined;
  remoteSettings: undefined;
}

interface StreamEvents {
  response: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
  data: TinyBuffer;
  error: Error;
  close: undefined;
}

/** node:http2, as far as gRPC needs it: one connection, whose other side is known to speak HTTP/2. */
export function connect(
  _authority: 'http://localhost',
  { createConnection }: { readonly createConnection: () => Socket },
): ClientHttp2Session {
  return new ClientHttp2Session(createConnection());
}

/** One request and its answer. */
export class ClientHttp2Stream extends Emitter<StreamEvents> {
  readonly #send: (content: TinyBuffer) => void;
  readonly #cancel: () => void;

  constructor(send: (content: TinyBuffer) => void, cancel: () => void) {
    super();
    this.#send = send;
    this.#cancel = cancel;
  }

  /** Sends all that is to be sent, as soon as the other side takes it. */
  end(content: TinyBuffer): void {
    this.#send(content);
  }

  close(): void {
    this.#cancel();
  }
}

/** A stream and its state. */
interface Open {
  readonly stream: ClientHttp2Stream;
  hasResponse: boolean;
  /** What is still to be sent. Undefined if all was sent, or if there is nothing yet. */
  unsent: TinyBuffer | undefined;
  /** How much the other side still takes. */
  window: number;
  /** How much has come since the other side was told that more may come. */
  taken: number;
}

/** Header fields of which more is to come. No other frame may come between. */
interface Fields {
  readonly stream: number;
  readonly isLast: boolean;
  readonly parts: readonly TinyBuffer[];
}

export class ClientHttp2Session extends Emitter<SessionEvents> {
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  readonly #open = new Map<number, Open>();
  #lastStream = -1;
  #window = FIRST_WINDOW;
  #streamWindow = FIRST_WINDOW;
  #taken = 0;
  /** What nobody has read yet. */
  #replies = 0;
  #fields: Fields | undefined;
  #isGreeted = false;
  #isOver = false;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('data', (data) => this.#take(data));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
    const settings = encodeSettings([
      [HEADER_TABLE_SIZE, 0],
      [ENABLE_PUSH, 0],
      [INITIAL_WINDOW_SIZE, WINDOW_BYTES],
    ]);
    socket.write(PREFACE);
    this.#write(SETTINGS, 0, 0, settings);
    this.#write(WINDOW_UPDATE, 0, 0, uint32(WINDOW_BYTES - FIRST_WINDOW));
  }

  /** @throws Error if the connection is over */
  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    if (this.#isOver) throw new Error('expected an open connection, found one that is over');
    const id = (this.#lastStream += 2);
    const stream: ClientHttp2Stream = new ClientHttp2Stream(
      (content) => this.#send(id, content),
      () => this.#end(id, CANCEL),
    );
    this.#open.set(id, { stream, hasResponse: false, unsent: undefined, window: this.#streamWindow, taken: 0 });
    const all = Object.entries({ ':scheme': 'http', ':authority': 'localhost', ...headers });
    this.#write(HEADERS, END_HEADERS, id, encodeFields(all));
    return stream;
  }

  /** Ends the connection at once, with all its streams, and tells listeners so. */
  destroy(error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.destroy();
    for (const id of this.#open.keys()) this.#forget(id, error);
    soon(() => {
      if (error !== undefined) this.emit('error', error);
      this.emit('close', undefined);
    });
  }

  #write(type: number, flags: number, stream: number, payload: Uint8Array): void {
    this.#socket.write(encodeFrame(type, flags, stream, payload));
  }

  #take(data: TinyBuffer): void {
    try {
      for (const frame of this.#frames.take(data)) {
        if (this.#isOver) return;
        this.#takeFrame(frame);
      }
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #takeFrame(frame: Frame): void {
    const { type, stream, payload } = frame;
    if (!this.#isGreeted && type !== SETTINGS)
      throw new Error(`expected SETTINGS first, found a frame of type ${type}`);
    if (this.#fields !== undefined && (type !== CONTINUATION || stream !== this.#fields.stream))
      throw new Error(`expected more header fields, found a frame of type ${type}`);
    if (stream > Math.max(this.#lastStream, 0) || (stream !== 0 && stream % 2 === 0))
      throw new Error(`expected a stream that was opened, found ${stream}`);
    if (type === DATA) this.#takeData(frame);
    else if (type === HEADERS) this.#takeFields(frame, []);
    else if (type === CONTINUATION) this.#takeMoreFields(frame);
    else if (type === RST_STREAM) this.#takeReset(frame);
    else if (type === SETTINGS) this.#takeSettings(frame);
    else if (type === PING) this.#takePing(frame);
    else if (type === WINDOW_UPDATE) this.#takeIncrease(frame);
    else if (type === GOAWAY) this.#takeEnd(payload);
    else if (type === PUSH_PROMISE) throw new Error('expected answers alone, found a promise');
  }

  #takeData(frame: Frame): void {
    const content = contentOf(frame);
    const bytes = frame.payload.length;
    this.#taken = this.#allowMore(0, this.#taken + bytes);
    const open = this.#open.get(frame.stream);
    if (open === undefined) return;
    open.stream.emit('data', content);
    if (isLast(frame)) this.#end(frame.stream);
    else open.taken = this.#allowMore(frame.stream, open.taken + bytes);
  }

  /** Tells the other side now and then how much was read. @returns how much it was not told yet */
  #allowMore(stream: number, taken: number): number {
    if (taken < WINDOW_BYTES / 2) return taken;
    this.#write(WINDOW_UPDATE, 0, stream, uint32(taken));
    return 0;
  }

  #takeMoreFields(frame: Frame): void {
    if (this.#fields === undefined) throw new Error('expected the beginning of header fields, found more of them');
    this.#takeFields(frame, this.#fields.parts);
  }

  #takeFields(frame: Frame, before: readonly TinyBuffer[]): void {
    const { stream } = frame;
    const parts = [...before, frame.type === CONTINUATION ? frame.payload : contentOf(frame)];
    // Each frame counts, even an empty one.
    const bytes = parts.reduce((sum, { length }) => sum + Math.max(length, 1024), 0);
    if (bytes > MAX_FIELDS_BYTES)
      throw new Error(`expected at most ${MAX_FIELDS_BYTES} bytes of header fields, found more`);
    const isEnd = this.#fields?.isLast ?? isLast(frame);
    this.#fields = { stream, isLast: isEnd, parts };
    if ((frame.flags & END_HEADERS) === 0) return;
    this.#fields = undefined;
    const fields = decodeFields(TinyBuffer.concat(parts));
    const open = this.#open.get(stream);
    if (open === undefined) return;
    open.stream.emit(open.hasResponse ? 'trailers' : 'response', fields);
    open.hasResponse = true;
    if (isEnd) this.#end(stream);
  }

  #takeReset(frame: Frame): void {
    const code = errorIn(frame);
    const isFault = code !== NO_ERROR && code !== CANCEL;
    this.#forget(frame.stream, isFault ? new Error(`the stream was reset with error ${code}`) : undefined);
  }

  #takeSettings(frame: Frame): void {
    if ((frame.flags & ACK) !== 0) return;
    const window = settingsIn(frame).get(INITIAL_WINDOW_SIZE);
    this.#reply(SETTINGS, TinyBuffer.alloc(0));
    if (window !== undefined) {
      widened(0, window);
      for (const open of this.#open.values()) open.window = widened(open.window, window - this.#streamWindow);
      this.#streamWindow = window;
      this.#sendAll();
    }
    if (!this.#isGreeted) this.emit('remoteSettings', undefined);
    this.#isGreeted = true;
  }

  #takePing({ flags, payload }: Frame): void {
    expectSize(payload, 8, 'PING');
    if ((flags & ACK) === 0) this.#reply(PING, payload);
  }

  #reply(type: number, payload: Uint8Array): void {
    this.#replies = this.#socket.writableNeedDrain ? this.#replies + 1 : 0;
    if (this.#replies > MAX_REPLIES)
      throw new Error(`expected that at most ${MAX_REPLIES} replies wait to be read, found more`);
    this.#write(type, ACK, 0, payload);
  }

  #takeIncrease(frame: Frame): void {
    const increase = increaseIn(frame);
    const open = this.#open.get(frame.stream);
    if (frame.stream === 0) this.#window = widened(this.#window, increase);
    else if (open !== undefined) open.window = widened(open.window, increase);
    this.#sendAll();
  }

  /** GOAWAY ends the connection. Whoever calls again opens another one. */
  #takeEnd(payload: TinyBuffer): void {
    const code = payload.length < 8 ? NO_ERROR : payload.readUInt32BE(4);
    this.destroy(code === NO_ERROR ? undefined : new Error(`the connection was ended with error ${code}`));
  }

  #send(id: number, content: TinyBuffer): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    open.unsent = content;
    this.#sendAll();
  }

  /** Sends what the other side takes. */
  #sendAll(): void {
    for (const [id, open] of this.#open)
      while (open.unsent !== undefined) {
        const room = Math.min(MAX_PAYLOAD_BYTES, this.#window, open.window);
        if (room <= 0 && open.unsent.length > 0) break;
        const part = open.unsent.subarray(0, room);
        open.unsent = part.length === open.unsent.length ? undefined : open.unsent.subarray(part.length);
        this.#window -= part.length;
        open.window -= part.length;
        this.#write(DATA, open.unsent === undefined ? END_STREAM : 0, id, part);
      }
  }

  /** @param code for the other side, which may still be sending or waiting for more */
  #end(id: number, code?: number): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    if (code !== undefined || open.unsent !== undefined) this.#write(RST_STREAM, 0, id, uint32(code ?? NO_ERROR));
    this.#forget(id, undefined);
  }

  #forget(id: number, error: Error | undefined): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    if (error !== undefined) open.stream.emit('error', error);
    open.stream.emit('close', undefined);
  }
}

function isLast({ flags }: Frame): boolean {
  return (flags & END_STREAM) !== 0;
}
