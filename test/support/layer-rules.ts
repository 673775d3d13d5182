import path from 'node:path';
import type { Source } from './source.ts';

/** Files by their path in the repository, with what they have from elsewhere. */
export type Sources = ReadonlyMap<string, Source>;

/** Rooms from the lowest to the highest, each with those that it may import. */
export type Rooms = ReadonlyMap<string, readonly string[]>;

const ROOT = 'agent';
/** The only room that may use what only the operating system has. */
const DOOR = 'agent/system/';
/** What the small engine has in the place of that, and of Node. */
const ENGINE = 'agent/tiny/';

/** Reads the rooms' rule. @throws Error where there is none, or a room may import one that is not below it */
export function parseRooms(markdown: string): Rooms {
  const block = /^```layers\n(.*?)^```$/ms.exec(markdown)?.[1];
  if (block === undefined) throw new Error('expected a block that begins with ```layers, found none');
  const rooms = new Map<string, readonly string[]>();
  for (const line of block.trimEnd().split('\n')) {
    const [, room, list] = /^([\w.-]+):((?: [\w.-]+)*)$/.exec(line) ?? [];
    if (room === undefined) throw new Error(`expected 'room: rooms that it may import', found '${line}'`);
    const below = (list ?? '').split(' ').slice(1);
    const above = below.find((name) => !rooms.has(name));
    if (above !== undefined) throw new Error(`${room}: expected rooms that stand below it, found ${above}`);
    rooms.set(room, below);
  }
  return rooms;
}

/** Imports between rooms that the rule does not allow, files in no room, and what the rule allows for nothing. */
export function roomProblems(sources: Sources, rooms: Rooms): string[] {
  const problems: string[] = [];
  const unused = new Set([...rooms].flatMap(([room, below]) => below.map((name) => `${room} -> ${name}`)));
  for (const [file, imported] of filesImportedBy(sources)) {
    const room = roomOf(file);
    if (!rooms.has(room)) problems.push(`${file}: its room ${room} is not in the rule`);
    for (const other of imported) {
      const to = roomOf(other);
      unused.delete(`${room} -> ${to}`);
      if (to !== room && rooms.get(room)?.includes(to) !== true)
        problems.push(`${file} imports ${other}: ${room} may not import ${to}`);
      if (!sources.has(other)) problems.push(`${file} imports ${other}, which is not there`);
    }
  }
  const there = new Set([...sources.keys()].map((file) => roomOf(file)));
  for (const room of rooms.keys()) if (!there.has(room)) problems.push(`${room} is in the rule, and there is none`);
  return [...problems, ...[...unused].map((edge) => `${edge} is allowed, and nothing needs it`)];
}

/**
 * Circles between files, and between folders: each once, as the names on it. A folder has beside those in it what they
 * stand on, and what puts them together.
 */
export function circles(sources: Sources): string[] {
  const files = filesImportedBy(sources);
  const folders = new Map<string, Set<string>>();
  for (const [file, imported] of files) {
    const from = folderOf(file);
    const to = folders.get(from) ?? new Set();
    for (const other of imported) if (!isWithin(from, folderOf(other))) to.add(folderOf(other));
    folders.set(from, to);
  }
  return [...circlesIn(files), ...circlesIn(folders)];
}

/**
 * Values that a file exports and no other file imports. knip takes all of what is loaded by `import()` for used.
 * @param standIns files that stand for another, or for a module, with what they stand for
 */
export function unusedExports(sources: Sources, standIns: ReadonlyMap<string, string> = new Map()): string[] {
  const used = new Set(
    [...sources].flatMap(([file, { imports }]) =>
      imports.flatMap(({ specifier, names }) =>
        (names ?? ['*']).map((name) => `${resolved(file, specifier) ?? specifier} ${name}`),
      ),
    ),
  );
  return [...sources].flatMap(([file, { exports }]) => {
    const places = [file, standIns.get(file) ?? file];
    if (places.some((place) => used.has(`${place} *`))) return [];
    return exports
      .filter((name) => !places.some((place) => used.has(`${place} ${name}`)))
      .map((name) => `${file} ${name}`);
  });
}

/** What a file does that only `system/` may do, and by what. */
interface DoorUse {
  readonly file: string;
  readonly why: string;
  readonly name: string;
}

/** What only `system/` may do: start programs, call foreign functions, read the environment, the clock, and watch. */
export function doorProblems(sources: Sources): string[] {
  return doorUses(sources)
    .filter(({ file }) => !file.startsWith(DOOR) && !file.startsWith(ENGINE))
    .map(({ file, why, name }) => `${file} ${why} by itself: ${name}`);
}

/** Which files of `system/` do what only it may do: each kind with their names, without the folder. */
export function doorFiles(sources: Sources): Readonly<Record<string, readonly string[]>> {
  const uses = doorUses(sources).filter(({ file }) => file.startsWith(DOOR));
  const kinds = Map.groupBy(uses, ({ why }) => why);
  return Object.fromEntries(
    [...kinds].map(([why, of]) => [why, [...new Set(of.map(({ file }) => file.slice(DOOR.length)))].toSorted()]),
  );
}

function doorUses(sources: Sources): DoorUse[] {
  return [...sources].flatMap(([file, { imports, globals }]) => {
    const used = [
      ...imports.map(({ specifier, names }) => [specifier, doorOf(file, specifier, names)] as const),
      ...globals.map((name) => [name, globalDoors.find(([pattern]) => pattern.test(name))?.[1]] as const),
    ];
    return used.flatMap(([name, why]) => (why === undefined ? [] : [{ file, why, name }]));
  });
}

const moduleDoors: Readonly<Record<string, string>> = {
  child_process: 'starts programs',
  cluster: 'starts programs',
  worker_threads: 'starts threads',
  execa: 'starts programs',
  koffi: 'calls foreign functions',
  'bun:ffi': 'calls foreign functions',
  bun: 'takes what one runtime has',
  vm: 'loads what is not imported',
  process: 'reads the environment',
  perf_hooks: 'reads the clock',
  chokidar: 'watches devices',
};
/** Of these modules a part is for all, by name. */
const partDoors: Readonly<Record<string, readonly [part: RegExp, why: string]>> = {
  fs: [/^(watch|watchFile|unwatchFile|promises|default)$/, 'watches'],
  'fs/promises': [/^(watch|default)$/, 'watches'],
  module: [/^(?!builtinModules$)/, 'loads what is not imported'],
  os: [/^(uptime|default)$/, 'reads the clock'],
  timers: [/^(?!setImmediate$)/, 'reads the clock'],
  'timers/promises': [/^(?!setImmediate$)/, 'reads the clock'],
};
const globalDoors: readonly (readonly [name: RegExp, why: string])[] = [
  [/^process\.(env|\*)$/, 'reads the environment'],
  [/^(Bun|Deno|globalThis\..*|global)$|^import\.meta\.(?!(dirname|filename|main|url)$)/, 'takes what one runtime has'],
  [
    /^process\.(dlopen|binding|getBuiltinModule)$|^(require|createRequire|eval|Function)$/,
    'loads what is not imported',
  ],
  [/^process\.(hrtime|uptime)$|^(Date\.now|Date\.\*|new Date\(\)|performance)$/, 'reads the clock'],
  [/^(setTimeout|setInterval|Atomics\.(wait|waitAsync|\*)|AbortSignal\.(timeout|\*))$/, 'reads the clock'],
];

function doorOf(file: string, specifier: string, names: readonly string[] | undefined): string | undefined {
  if (resolved(file, specifier) === `${DOOR}libc.ts`) return 'makes system calls';
  const name = specifier.replace(/^node:/, '');
  const [part, why] = partDoors[name] ?? [];
  if (part !== undefined && (names === undefined || names.some((one) => part.test(one)))) return why;
  return moduleDoors[name];
}

/** Names of node:fs that change a filesystem, with and without `Sync`. */
const WRITING =
  /^(f|l)?(chmod|chown|utimes|truncate|sync|datasync)(Sync)?$|^(appendFile|copyFile|cp|createWriteStream|link|mkdir|mkdtemp|mkdtempDisposable|rename|rm|rmdir|symlink|unlink|write|writev|writeFile|promises|default)(Sync)?$/;

/**
 * The files that can change a filesystem or what is mounted, each with the names by which it does.
 * @param reading of files that write for others, what only reads
 */
export function writers(sources: Sources, reading: Readonly<Record<string, readonly string[]>>): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [file, { imports, writeFlags }] of sources) {
    const names = imports.flatMap(({ specifier, names: taken }) => {
      if (/^(node:)?fs(\/promises)?$/.test(specifier))
        return taken?.filter((name) => WRITING.test(name)) ?? [specifier];
      const only = reading[resolved(file, specifier) ?? ''];
      return only === undefined ? [] : (taken?.filter((name) => !only.includes(name)) ?? [specifier]);
    });
    if (names.length + writeFlags.length > 0) found.set(file, [...new Set([...names, ...writeFlags])].toSorted());
  }
  return found;
}

function filesImportedBy(sources: Sources): Map<string, Set<string>> {
  return new Map(
    [...sources].map(([file, { imports }]) => [
      file,
      new Set(imports.flatMap(({ specifier }) => resolved(file, specifier) ?? [])),
    ]),
  );
}

/** The source that an import leads to; undefined where it is a package's or the runtime's, or is data. */
const resolved = (file: string, specifier: string): string | undefined =>
  specifier.startsWith('.') && !specifier.endsWith('.json')
    ? path.posix.join(path.posix.dirname(file), specifier)
    : undefined;

/** A file that lies in no folder of agent/ is a room of its own. */
const roomOf = (file: string): string => file.split('/')[file.startsWith(`${ROOT}/`) ? 1 : 0] ?? file;
const folderOf = (file: string): string => (path.posix.dirname(file) === ROOT ? file : path.posix.dirname(file));

/** Whether one folder is the other, or lies in it. */
const isWithin = (one: string, other: string): boolean =>
  `${one}/`.startsWith(`${other}/`) || `${other}/`.startsWith(`${one}/`);

/** Tarjan's strongly connected components with more than one node, or with a node that leads to itself. */
function circlesIn(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const numbers = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const found: string[] = [];
  const visit = (node: string): number => {
    const number = numbers.size;
    numbers.set(node, number);
    lowest.set(node, number);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      const low = numbers.has(next) ? (stack.includes(next) ? numbers.get(next) : undefined) : visit(next);
      if (low !== undefined) lowest.set(node, Math.min(lowest.get(node) ?? number, low));
    }
    if (lowest.get(node) === number) {
      const component = stack.splice(stack.indexOf(node));
      if (component.length > 1 || graph.get(node)?.has(node) === true) found.push(component.toSorted().join(' <-> '));
    }
    return lowest.get(node) ?? number;
  };
  for (const node of graph.keys()) if (!numbers.has(node)) visit(node);
  return found;
}
