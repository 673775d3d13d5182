/** What both runtimes are asked, in JSON. */
export type Question =
  | {
      readonly ask: 'path';
      readonly name: 'normalize' | 'dirname' | 'basename' | 'isAbsolute';
      readonly of: string;
    }
  | { readonly ask: 'path'; readonly name: 'relative'; readonly args: [string, string] }
  | { readonly ask: 'path'; readonly name: 'join' | 'resolve'; readonly args: readonly string[] }
  | { readonly ask: 'text'; readonly bytes: readonly number[]; readonly start: number; readonly end: number }
  | { readonly ask: 'bytes'; readonly units: readonly number[] }
  | { readonly ask: 'numbers'; readonly bytes: readonly number[]; readonly at: number; readonly value: number }
  | { readonly ask: 'buffers'; readonly bytes: readonly number[]; readonly more: readonly number[] }
  | { readonly ask: 'json'; readonly text: string }
  | { readonly ask: 'values'; readonly text: string }
  | { readonly ask: 'strict json'; readonly text: string }
  | { readonly ask: 'digest'; readonly text: string }
  | { readonly ask: 'plain path'; readonly text: string }
  | { readonly ask: 'builtins'; readonly of: readonly (readonly [owner: string, names: readonly string[]])[] }
  | { readonly ask: 'signed'; readonly by: string; readonly message: string; readonly signature: string }
  | { readonly ask: 'files'; readonly folder: string };

type Bytes = Uint8Array & {
  toString(encoding?: 'utf8' | 'latin1' | 'hex' | 'utf16le', start?: number, end?: number): string;
  equals(other: Uint8Array): boolean;
  indexOf(value: number | string, from?: number): number;
  copy(target: Uint8Array, at: number, start?: number, end?: number): void;
  swap16(): Bytes;
  subarray(start?: number, end?: number): Bytes;
  readUInt8(at: number): number;
  readUInt16LE(at: number): number;
  readUInt32LE(at: number): number;
  readUInt32BE(at: number): number;
  readInt16LE(at: number): number;
  readBigInt64LE(at: number): bigint;
  writeUInt16LE(value: number, at: number): unknown;
  writeInt16LE(value: number, at: number): unknown;
  writeInt32LE(value: number, at: number): unknown;
  writeUInt32BE(value: number, at: number): unknown;
  writeBigUInt64LE(value: bigint): unknown;
};

/** What a runtime has of Node. */
export interface Runtime {
  readonly path: Readonly<Record<'normalize' | 'dirname' | 'basename', (path: string) => string>> & {
    isAbsolute(path: string): boolean;
    relative(from: string, to: string): string;
    join(...parts: readonly string[]): string;
    resolve(...parts: readonly string[]): string;
  };
  readonly Buffer: {
    alloc(size: number): Bytes;
    from(value: string | readonly number[], encoding?: 'utf8' | 'latin1'): Bytes;
    concat(parts: readonly Uint8Array[]): Bytes;
    byteLength(text: string): number;
  };
  readonly fs: Files;
  sha256(content: string | Uint8Array): string;
  isSha256Digest(text: string): boolean;
  isPlainPath(path: string): boolean;
  mayHaveMoreValues(text: string, most: number): boolean;
  parseStrictly(text: string): unknown;
  isSignedBy(key: Bytes, message: Bytes, signature: Bytes): boolean;
}

interface Stats {
  readonly mode: number;
  readonly size: number;
  readonly mtimeMs: number;
  isDirectory(): boolean;
  isFile(): boolean;
  isBlockDevice(): boolean;
}

interface Files {
  readonly constants: Readonly<
    Record<
      | 'O_RDONLY'
      | 'O_WRONLY'
      | 'O_RDWR'
      | 'O_CREAT'
      | 'O_EXCL'
      | 'O_TRUNC'
      | 'O_NONBLOCK'
      | 'O_DIRECTORY'
      | 'O_NOFOLLOW',
      number
    >
  >;
  openSync(path: string, flags: number, mode?: number): number;
  closeSync(fd: number): void;
  readSync(fd: number, bytes: Uint8Array, offset: number, length: number, position: number | null): number;
  writeSync(fd: number, bytes: Uint8Array, offset: number): number;
  fstatSync(fd: number): Stats;
  statSync(path: string): Stats;
  lstatSync(path: string, options: { throwIfNoEntry: false }): Stats | undefined;
  statfsSync(path: string): {
    readonly type: number;
    readonly bsize: number;
    readonly blocks: number;
    readonly files: number;
  };
  existsSync(path: string): boolean;
  readFileSync(path: string, encoding: 'utf8'): string;
  readdirSync(path: string, options?: { encoding: 'latin1' }): string[];
  readdirSync(
    path: string,
    options: { withFileTypes: true },
  ): readonly {
    readonly name: string;
    isDirectory(): boolean;
    isSymbolicLink(): boolean;
  }[];
  readlinkSync(path: string): string;
  realpathSync: { native(path: string): string };
  mkdirSync(path: string, options?: { recursive?: true; mode?: number }): unknown;
  rmdirSync(path: string): void;
  rmSync(path: string, options: { recursive?: true; force?: true }): void;
  unlinkSync(path: string): void;
  renameSync(from: string, to: string): void;
  symlinkSync(target: string, path: string): void;
  futimesSync(fd: number, accessedSec: number, modifiedSec: number): void;
  fchmodSync(fd: number, mode: number): void;
  fsyncSync(fd: number): void;
}

/** What a runtime answers: of each question a value for JSON, in which an error is told as far as both are to agree. */
export function answers(questions: readonly Question[], runtime: Runtime): unknown[] {
  return questions.map((question) => attempt(() => answer(question, runtime)));
}

function attempt(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Error)) return 'something else was thrown';
    const { code, syscall, path, dest, errno, message } = error as Error & Record<string, unknown>;
    if (syscall !== undefined) return { code, syscall, path, dest, errno, message };
    return error instanceof SyntaxError ? 'SyntaxError' : error instanceof RangeError ? 'RangeError' : error.name;
  }
}

/** The words of what is wrong with a text. */
function faultIn(parse: () => unknown): string {
  try {
    parse();
    return 'nothing';
  } catch (error) {
    return String(error);
  }
}

function answer(question: Question, runtime: Runtime): unknown {
  const { Buffer, path } = runtime;
  if (question.ask === 'path') {
    if ('of' in question) return path[question.name](question.of);
    return question.name === 'relative' ? path.relative(...question.args) : path[question.name](...question.args);
  }
  if (question.ask === 'text') {
    const bytes = Buffer.from(question.bytes);
    const part = [question.start, question.end] as const;
    return (['utf8', 'latin1', 'hex', 'utf16le'] as const).flatMap((encoding) => [
      bytes.toString(encoding),
      bytes.toString(encoding, ...part),
    ]);
  }
  if (question.ask === 'bytes') {
    const text = String.fromCharCode(...question.units);
    return [
      [...Buffer.from(text)],
      [...Buffer.from(text, 'latin1')],
      Buffer.byteLength(text),
      runtime.sha256(text),
      JSON.stringify(text),
    ];
  }
  if (question.ask === 'numbers') return numbersOf(question, Buffer);
  if (question.ask === 'buffers') return buffersOf(question, runtime);
  if (question.ask === 'plain path') return runtime.isPlainPath(question.text);
  if (question.ask === 'digest') return runtime.isSha256Digest(question.text);
  if (question.ask === 'signed') {
    const [key, message, signature] = [question.by, question.message, question.signature].map((text) =>
      Buffer.from(text, 'latin1'),
    );
    return key !== undefined && message !== undefined && signature !== undefined
      ? runtime.isSignedBy(key, message, signature)
      : undefined;
  }
  if (question.ask === 'json') return JSON.stringify(JSON.parse(question.text));
  if (question.ask === 'strict json') return faultIn(() => runtime.parseStrictly(question.text));
  if (question.ask === 'values')
    return [0, 1, 2, 3, 5, 9].map((most) => runtime.mayHaveMoreValues(question.text, most));
  if (question.ask === 'builtins')
    return question.of.flatMap(([owner, names]) =>
      names.filter((name) => !has(owner, name)).map((name) => `${owner}.${name}`),
    );
  return filesIn(question.folder, runtime);
}

/** @param owner a global, or the prototype of one: `Map`, `Map.prototype` */
function has(owner: string, name: string): boolean {
  const [first = '', ...more] = owner.split('.');
  let value: unknown = (globalThis as Readonly<Record<string, unknown>>)[first];
  for (const part of more) value = (value as Readonly<Record<string, unknown>> | undefined)?.[part];
  return value !== undefined && name in (value as object);
}

function numbersOf({ bytes, at, value }: Extract<Question, { ask: 'numbers' }>, Buffer: Runtime['Buffer']): unknown {
  const all = Buffer.from(bytes);
  const reads = (
    ['readUInt8', 'readUInt16LE', 'readUInt32LE', 'readUInt32BE', 'readInt16LE', 'readBigInt64LE'] as const
  ).map((name) => attempt(() => String(all[name](at))));
  const writes = (
    [
      ['writeUInt16LE', 0, 0xffff],
      ['writeInt16LE', -0x8000, 0x7fff],
      ['writeInt32LE', -0x80000000, 0x7fffffff],
      ['writeUInt32BE', 0, 0xffffffff],
    ] as const
  ).map(([name, least, most]) =>
    attempt(() => {
      const into = Buffer.alloc(12);
      into[name](Math.min(Math.max(value, least), most), at);
      return [...into];
    }),
  );
  const big = Buffer.alloc(8);
  big.writeBigUInt64LE(BigInt(Math.abs(value)) * 4_294_967_296n + 5n);
  return [...reads, ...writes, [...big]];
}

function buffersOf({ bytes, more }: Extract<Question, { ask: 'buffers' }>, { Buffer, ...runtime }: Runtime): unknown {
  const [left, right] = [Buffer.from(bytes), Buffer.from(more)];
  const copied = Buffer.alloc(bytes.length + 2);
  left.copy(copied, 1);
  const part = Buffer.alloc(bytes.length + 2);
  left.copy(part, 2, Math.min(1, bytes.length), Math.max(1, bytes.length - 1));
  return [
    Array.from(Buffer.concat([left, right, left.subarray(1, -1)])),
    left.equals(right),
    left.equals(Buffer.from(bytes)),
    [...copied],
    [...part],
    attempt(() => [...Buffer.from(bytes).swap16()]),
    [...left.subarray(2)],
    runtime.sha256(left),
    left.indexOf(0),
    left.indexOf('A', 1),
    left.indexOf('ü'),
    left.indexOf(right.toString('latin1', 0, 1).replaceAll(/[^A]/g, 'A'), 3),
  ];
}

/** Each call as it succeeds, and as it fails. */
function filesIn(folder: string, { fs, Buffer }: Runtime): unknown {
  const at = (name: string): string => `${folder}/${name}`;
  const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
  const told: unknown[] = [fs.constants['O_TRUNC'], fs.constants['O_NONBLOCK'], O_RDONLY, O_RDWR];
  const tell = (act: () => unknown): void => void told.push(attempt(act) ?? 'undefined');
  const shown = (stats: Stats | undefined): unknown =>
    stats && [stats.mode, stats.isFile() ? stats.size : 0, stats.isDirectory(), stats.isFile(), stats.isBlockDevice()];
  tell(() => void fs.mkdirSync(at('deep/er/still'), { recursive: true, mode: 0o750 }));
  tell(() => fs.mkdirSync(at('deep/er'), { recursive: true }));
  tell(() => fs.mkdirSync(at('deep')));
  tell(() => fs.mkdirSync(at('none/deep')));
  const fd = fs.openSync(at('file'), O_RDWR | O_CREAT | O_EXCL, 0o640);
  tell(() => fs.writeSync(fd, Buffer.from('abcdef'), 2));
  tell(() => {
    const into = Buffer.alloc(6);
    return [
      fs.readSync(fd, into, 1, 4, 1),
      into.toString(),
      fs.readSync(fd, into, 0, 6, null),
      fs.readSync(fd, into, 0, 6, 99),
    ];
  });
  tell(() => fs.readSync(fd, Buffer.alloc(4), 2, 3, 0));
  tell(() => fs.fchmodSync(fd, 0o604));
  tell(() => fs.futimesSync(fd, 1_500_000_000.25, 1_500_000_000.5));
  tell(() => fs.fsyncSync(fd));
  tell(() => [shown(fs.fstatSync(fd)), fs.fstatSync(fd).mtimeMs]);
  tell(() => fs.closeSync(fd));
  tell(() => fs.closeSync(987_654));
  tell(() => fs.fstatSync(987_654));
  tell(() => fs.readSync(987_654, Buffer.alloc(1), 0, 1, 0));
  tell(() => fs.writeSync(987_654, Buffer.alloc(1), 0));
  tell(() => fs.fsyncSync(987_654));
  tell(() => fs.openSync(at('file'), O_WRONLY | O_CREAT | O_EXCL));
  tell(() => fs.openSync(at('file'), O_RDONLY | O_DIRECTORY));
  tell(() => fs.openSync(at('none'), O_RDONLY));
  tell(() => fs.openSync(at('file/none'), O_RDONLY));
  tell(() => fs.openSync(at('deep'), O_WRONLY));
  tell(() => fs.openSync(at('x'.repeat(300)), O_RDONLY));
  tell(() => fs.openSync(at('y'.repeat(5000)), O_RDONLY));
  tell(() => fs.symlinkSync('loop', at('loop')));
  tell(() => fs.symlinkSync('file', at('link')));
  tell(() => fs.symlinkSync('file', at('link')));
  tell(() => fs.openSync(at('link'), O_RDONLY | O_NOFOLLOW));
  tell(() => fs.openSync(at('loop'), O_RDONLY));
  tell(() => [fs.readlinkSync(at('link')), fs.realpathSync.native(at('link')).endsWith('/file')]);
  tell(() => fs.readlinkSync(at('file')));
  tell(() => fs.realpathSync.native(at('none')));
  tell(() => [
    shown(fs.lstatSync(at('link'), { throwIfNoEntry: false })),
    shown(fs.statSync(at('link'))),
    shown(fs.statSync(at('deep'))),
  ]);
  tell(() => [
    fs.lstatSync(at('none'), { throwIfNoEntry: false }) ?? 'none',
    fs.lstatSync(at('file/none'), { throwIfNoEntry: false }) ?? 'none',
  ]);
  tell(() => fs.lstatSync(at('loop/none'), { throwIfNoEntry: false }));
  tell(() => fs.statSync(at('none')));
  tell(() => shown(fs.statSync('/dev/null')));
  tell(() => [fs.existsSync(at('file')), fs.existsSync(at('loop')), fs.existsSync(at('none')), fs.existsSync('a\0b')]);
  tell(() => fs.readFileSync(at('link'), 'utf8'));
  tell(() => fs.readFileSync('/proc/self/oom_score_adj', 'utf8'));
  tell(() => fs.readFileSync(at('none'), 'utf8'));
  tell(() => fs.readFileSync(at('deep'), 'utf8'));
  tell(() => fs.readdirSync(folder).toSorted());
  tell(() =>
    fs
      .readdirSync(folder, { withFileTypes: true })
      .map((entry) => `${entry.name} ${entry.isDirectory()} ${entry.isSymbolicLink()}`)
      .toSorted(),
  );
  tell(() => fs.readdirSync(at('none')));
  tell(() => fs.readdirSync(at('file')));
  tell(() => [fs.statfsSync(folder).type, fs.statfsSync(folder).bsize, fs.statfsSync(folder).files]);
  tell(() => fs.statfsSync(at('none')).type);
  tell(() => fs.renameSync(at('file'), at('deep/moved')));
  tell(() => fs.renameSync(at('file'), at('deep/moved')));
  tell(() => fs.renameSync(at('deep/moved'), at('deep/er')));
  tell(() => fs.rmdirSync(at('deep')));
  tell(() => fs.rmdirSync(at('link')));
  tell(() => fs.unlinkSync(at('none')));
  tell(() => fs.unlinkSync(at('deep')));
  tell(() => fs.rmSync(at('none'), { force: true }));
  tell(() => fs.rmSync(at('loop'), { force: true }));
  tell(() => fs.rmSync(at('deep'), { recursive: true, force: true }));
  tell(() => fs.unlinkSync(at('link')));
  tell(() => fs.readdirSync(folder));
  tell(() => fs.rmdirSync('/proc/self'));
  return told;
}
