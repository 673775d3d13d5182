import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import fc from 'fast-check';
import { GrpcConnection } from '../../agent/containerd/api/grpc.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { seed } from '../support/seed.ts';
import { tempTree } from '../support/temp-tree.ts';
import { grpcAnswers, type GrpcCall, type GrpcQuestion } from './grpc-questions.ts';
import { makeProbe } from './probing.ts';

let folder: string;
let probe: string;

before(async () => {
  folder = (await tempTree('dpl-grpc', 'in-memory')).path;
  probe = await makeProbe(folder, 'test/tiny/grpc-probe.ts');
});
after(() => cleanUpAll());

interface Told {
  readonly answers: readonly unknown[];
  readonly peakKb: number;
}

/** @throws where the program does not end by itself, with an answer to each question */
async function ofSmall(questions: readonly GrpcQuestion[]): Promise<Told> {
  const { stdout } = await execa(probe, [], { input: JSON.stringify(questions), timeout: 120_000 });
  return JSON.parse(stdout) as Told;
}

const ofNode = async (questions: readonly GrpcQuestion[]): Promise<unknown> =>
  JSON.parse(
    JSON.stringify(
      await grpcAnswers(questions, {
        open: (address, timeoutMs) => GrpcConnection.open(address, timeoutMs),
        message: (bytes) => Buffer.alloc(bytes),
        sha256: (content) => createHash('sha256').update(content).digest('hex'),
      }),
    ),
  );

const call = (asked: string, bytes = 0, more: Partial<GrpcCall> = {}): GrpcCall => ({
  path: asked,
  bytes,
  timeoutMs: 20_000,
  ...more,
});
const question = (address: string, ...calls: readonly GrpcCall[]): GrpcQuestion => ({
  address,
  calls,
  connectMs: 5000,
});

/** A message, as gRPC frames it. */
function framed(content: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(content.length, 1);
  return Buffer.concat([prefix, content]);
}

/** Answers as the path says. */
function answerStream(stream: ServerHttp2Stream, asked: string, request: Buffer): void {
  const url = new URL(asked, 'http://localhost');
  const number = (name: string): number => Number(url.searchParams.get(name) ?? 0);
  const status = url.searchParams.get('status') ?? '0';
  const text = url.searchParams.get('text') ?? '';
  const more = JSON.parse(url.searchParams.get('more') ?? '{}') as Record<string, string>;
  const trailers = { 'grpc-status': status, ...(text === '' ? {} : { 'grpc-message': text }), ...more };
  if (url.pathname === '/silent') return;
  if (url.pathname === '/refused') return stream.close(7);
  if (url.pathname === '/status')
    return stream.respond({ ...trailers, ':status': number('http') || 200 }, { endStream: true });
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  const content = url.pathname === '/echo' ? request.subarray(5) : Buffer.alloc(number('bytes'), 7);
  for (let count = 0; count < Math.max(1, number('count')); count += 1) stream.write(framed(content));
  if (url.pathname === '/cut') return void stream.write(framed(content).subarray(0, -1), () => stream.close(2));
  stream.end();
}

async function serve(name: string, options: object): Promise<{ readonly address: string; readonly close: () => void }> {
  const server = createHttp2Server({ maxSessionMemory: 1000, ...options });
  const sessions: ServerHttp2Session[] = [];
  server.on('stream', (stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('error', () => undefined);
    stream.on('end', () => answerStream(stream, String(headers[':path']), Buffer.concat(parts)));
  });
  server.on('sessionError', () => undefined);
  server.on('session', (session) => sessions.push(session));
  const address = path.join(folder, name);
  server.listen(address);
  await once(server, 'listening');
  return {
    address,
    close: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

describe('gRPC on the small engine', () => {
  it('answers as on Node: messages, statuses, resets, large ones both ways, many at once', async (t) => {
    const calls = [
      call('/echo'),
      call('/echo', 10),
      call('/echo', 3_000_000),
      call('/echo?status=5', 100),
      call('/list?count=3&bytes=7'),
      call('/list?count=200&bytes=40000'),
      call('/list?bytes=5000000'),
      ...['1', '2', '5', '14', '99'].map((code) => call(`/status?status=${code}&text=it%2520is%2520gone`)),
      call('/status?status=6&text=%25zz'),
      call('/status?status=5', 2_000_000),
      call('/status?http=503'),
      call('/list?bytes=100', 0, { follow: true }),
      call('/list?bytes=2000000', 0, { follow: true }),
      call('/list?count=300&bytes=1000', 0, { follow: true }),
      call('/silent', 0, { follow: true, timeoutMs: 300 }),
      call('/refused', 0, { follow: true }),
    ];
    for (const [name, options] of Object.entries({
      plain: {},
      padded: { paddingStrategy: 1 },
      narrow: { settings: { initialWindowSize: 1000 } },
    })) {
      const { address, close } = await serve(`${name}.sock`, options);
      t.after(close);
      const questions = [question(address, ...calls), ...calls.map((each) => question(address, each))];
      const { answers, peakKb } = await ofSmall(questions);
      assert.deepEqual(answers, await ofNode(questions), name);
      assert.ok(peakKb < 128 * 1024, `${peakKb} kB`);
    }
  });

  it('says where none comes, or half of one, or the stream is reset', async (t) => {
    const { address, close } = await serve('failing.sock', {});
    t.after(close);
    const { answers } = await ofSmall([
      question(address, call('/silent', 0, { timeoutMs: 200 })),
      question(address, call('/refused'), call('/echo', 5)),
      question(address, call('/cut?bytes=10')),
      question(path.join(folder, 'none.sock'), call('/echo')),
    ]);
    assert.deepEqual(answers, [
      [{ status: 'deadlineExceeded', message: '/silent: expected an answer within 0.2 s, found none' }],
      [
        { status: 'unavailable', message: '/refused: the stream was reset with error 7' },
        [`5 ${createHash('sha256').update(Buffer.alloc(5)).digest('hex')}`],
      ],
      [{ status: 'unavailable', message: '/cut?bytes=10: the stream was reset with error 2' }],
      {
        status: 'unavailable',
        message: `${folder}/none.sock: ${folder}/none.sock: no such file or folder`,
      },
    ]);
  });

  it('reads header fields as Node does', async (t) => {
    const { address, close } = await serve('fields.sock', {});
    t.after(close);
    const texts = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 300,
    });
    const names = fc
      .string({ unit: fc.constantFrom(...'abcxyz019-'.split('')), minLength: 1, maxLength: 20 })
      .map((name) => `x-${name}`);
    const asked = fc
      .sample(fc.tuple(fc.integer({ min: 1, max: 16 }), texts, fc.dictionary(names, texts, { maxKeys: 5 })), {
        numRuns: 300,
        seed,
      })
      .map(([status, text, more]) => {
        const query = new URLSearchParams({ status: String(status), text, more: JSON.stringify(more) });
        return call(`/${status % 2 === 0 ? 'status' : 'list'}?${query.toString()}`);
      });
    const questions = asked.map((each) => question(address, each));
    assert.deepEqual((await ofSmall(questions)).answers, await ofNode(questions));
  });
});

/** A frame: its type, flags, stream and content. */
function frame(type: number, flags: number, stream: number, content: readonly number[] | Buffer = []): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(content.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, Buffer.from(content)]);
}

const settings = frame(4, 0, 0);
/** `:status: 200`, `grpc-status: 0` */
const good = Buffer.concat([Buffer.from([0x88, 0x00, 11]), Buffer.from('grpc-status'), Buffer.from([1, 0x30])]);
const answered = Buffer.concat([
  frame(1, 4, 1, [0x88]),
  frame(0, 0, 1, framed(Buffer.from('yes'))),
  frame(1, 5, 1, good),
]);

/** What a peer sends first, when something has come of a request, and from then on again and again. */
interface Peer {
  readonly first?: Buffer;
  readonly next?: Buffer;
  readonly always?: Buffer;
  readonly end?: true;
}

async function peer(
  name: string,
  { first, next, always, end }: Peer,
): Promise<{ readonly address: string; readonly close: () => void }> {
  const held: Socket[] = [];
  const server = createServer((socket) => {
    held.push(socket);
    socket.on('error', () => undefined);
    if (first !== undefined) socket.write(first);
    else if (end === true) socket.end();
    let seen = 0;
    socket.on('data', (data: Buffer) => {
      const before = seen;
      seen += data.length;
      // The preface, settings and a window come first.
      if (before >= 80 || seen < 80) return;
      if (next !== undefined) socket.write(next);
      if (end === true) socket.end();
      if (always === undefined) return;
      // One that goes on and on reads nothing.
      socket.pause();
      const again = (): void => void socket.write(always, (error) => (error == null ? setImmediate(again) : undefined));
      again();
    });
  });
  const address = path.join(folder, name);
  server.listen(address);
  await once(server, 'listening');
  return {
    address,
    close: () => {
      for (const socket of held) socket.destroy();
      server.close();
    },
  };
}

const answer: Peer = { first: settings, next: answered };
const wrong: Readonly<Record<string, readonly [Peer, status: RegExp]>> = {
  'says nothing': [{}, /deadlineExceeded/],
  'hangs up': [{ end: true }, /unavailable/],
  'speaks HTTP/1.1': [{ first: Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n') }, /unavailable/],
  'begins with another frame': [{ first: frame(6, 0, 0, Buffer.alloc(8)) }, /expected SETTINGS first/],
  'sends a frame of 16 MB': [
    { first: settings, next: Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]) },
    /at most 16384 bytes/,
  ],
  'answers what nobody asked': [{ first: settings, next: frame(0, 0, 9, [1]) }, /a stream that was opened/],
  'opens a stream': [{ first: settings, next: frame(1, 4, 2, [0x88]) }, /a stream that was opened/],
  promises: [{ first: settings, next: frame(5, 4, 1, [0, 0, 0, 2]) }, /found a promise/],
  'refers to a table that is not there': [{ first: settings, next: frame(1, 4, 1, [0xbe]) }, /from 1 to 61, found 62/],
  'makes a table': [{ first: settings, next: frame(1, 4, 1, [0x3f, 0xe1, 0x1f]) }, /without a table/],
  'has half a header field': [{ first: settings, next: frame(1, 4, 1, [0, 0x7f, 0xff, 0xff]) }, /header fields/],
  'has a number without end': [
    { first: settings, next: frame(1, 4, 1, [0x7f, ...Array<number>(9).fill(0xff)]) },
    /at most 5 bytes/,
  ],
  'has an end in a text': [
    { first: settings, next: frame(1, 4, 1, [0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]) },
    /an end in it/,
  ],
  'begins with more header fields': [
    { first: settings, next: frame(9, 4, 1, [0x88]) },
    /the beginning of header fields/,
  ],
  'sends something among header fields': [
    { first: settings, next: Buffer.concat([frame(1, 0, 1, [0x88]), frame(6, 0, 0, Buffer.alloc(8))]) },
    /more header fields/,
  ],
  'has header fields without end': [
    { first: settings, next: Buffer.concat([frame(1, 0, 1), ...Array<Buffer>(100).fill(frame(9, 0, 1))]) },
    /at most 65536 bytes of header fields/,
  ],
  'pads more than there is': [{ first: settings, next: frame(0, 8, 1, [9, 1]) }, /padding/],
  'has a window that grows by 0': [{ first: settings, next: frame(8, 0, 1, [0, 0, 0, 0]) }, /grows by 0/],
  'has a window that grows too far': [
    { first: settings, next: frame(8, 0, 0, [0x7f, 0xff, 0xff, 0xff]) },
    /a window of at most/,
  ],
  'has half a setting': [{ first: frame(4, 0, 0, [0, 4, 0]) }, /SETTINGS/],
  'has a short PING': [{ first: settings, next: frame(6, 0, 0, [1]) }, /8 bytes of PING/],
  'goes away': [{ first: settings, next: frame(7, 0, 0, Buffer.alloc(8)) }, /unavailable/],
  'goes away with an error': [
    { first: settings, next: frame(7, 0, 0, [0, 0, 0, 0, 0, 0, 0, 11]) },
    /ended with error 11/,
  ],
  'compresses a message': [
    {
      first: settings,
      next: Buffer.concat([frame(1, 4, 1, [0x88]), frame(0, 0, 1, [1, 0, 0, 0, 0]), frame(1, 5, 1, good)]),
    },
    /uncompressed messages/,
  ],
  'has a message of 4 GB': [
    {
      first: settings,
      next: Buffer.concat([frame(1, 4, 1, [0x88]), frame(0, 0, 1, [0, 0xff, 0xff, 0xff, 0xff]), frame(1, 5, 1, good)]),
    },
    /whole, uncompressed/,
  ],
  'asks on and on, and reads nothing': [
    { first: settings, always: Buffer.concat(Array<Buffer>(500).fill(frame(6, 0, 0, Buffer.alloc(8)))) },
    /deadlineExceeded|wait to be read/,
  ],
  'sends settings on and on': [
    { first: settings, always: Buffer.concat(Array<Buffer>(500).fill(settings)) },
    /deadlineExceeded|wait to be read/,
  ],
  'answers without end': [
    { first: settings, always: Buffer.concat(Array<Buffer>(8).fill(frame(0, 0, 1, Buffer.alloc(16_000)))) },
    /at most 67108864 bytes|deadlineExceeded/,
  ],
};

describe('another peer than containerd', () => {
  it('is taken for one where it answers as containerd', async (t) => {
    const { address, close } = await peer('right.sock', answer);
    t.after(close);
    const { answers } = await ofSmall([question(address, call('/any'))]);
    assert.deepEqual(answers, [[[`3 ${createHash('sha256').update('yes').digest('hex')}`]]]);
  });

  for (const [number, [name, [behaviour, expected]]] of Object.entries(wrong).entries())
    it(`that ${name} costs nothing but that`, async () => {
      const { address, close } = await peer(`wrong-${number}.sock`, behaviour);
      try {
        const asked = { ...question(address, call('/any', 10, { timeoutMs: 1500 })), connectMs: 700 };
        const followed = { ...question(address, call('/any', 10, { timeoutMs: 1500, follow: true })), connectMs: 700 };
        const { answers, peakKb } = await ofSmall([asked, followed]);
        assert.match(JSON.stringify(answers[0]), expected);
        assert.ok(peakKb < 400 * 1024, `${peakKb} kB`);
      } finally {
        close();
      }
    });

  it('that sends anything costs nothing but that', async (t) => {
    const random = fc.sample(
      fc.record({
        cuts: fc.array(fc.record({ at: fc.nat(answered.length - 1), byte: fc.nat(255) }), {
          minLength: 1,
          maxLength: 6,
        }),
        length: fc.nat(answered.length),
        isCut: fc.boolean(),
      }),
      { numRuns: 200, seed },
    );
    const peers = await Promise.all(
      random.map(({ cuts, length, isCut }, index) => {
        const bytes = Buffer.from(answered);
        for (const { at, byte } of cuts) bytes[at] = byte;
        return peer(`any-${index}.sock`, {
          first: settings,
          next: isCut ? bytes.subarray(0, length) : bytes,
          end: true,
        });
      }),
    );
    t.after(() => {
      for (const { close } of peers) close();
    });
    const questions = peers.map(({ address }) => question(address, call('/any', 0, { timeoutMs: 1000 })));
    const { answers } = await ofSmall(questions);
    assert.equal(answers.length, questions.length);
    // Of each it is said what became of it: an answer, or why there is none.
    for (const [index, each] of answers.flat().entries())
      assert.ok(
        Array.isArray(each) || typeof (each as { readonly status?: string }).status === 'string',
        `${index}: ${JSON.stringify(each)}`,
      );
    for (const kind of ['unavailable', 'other'])
      assert.ok(
        answers.flat().some((each) => (each as { readonly status?: string }).status === kind),
        kind,
      );
  });
});
