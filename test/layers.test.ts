import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  circles,
  doorFiles,
  doorProblems,
  parseRooms,
  roomProblems,
  unusedExports,
  writers,
  type Sources,
} from './support/layer-rules.ts';
import { parseSource } from './support/source.ts';
import { modules, replaced } from '../agent/packaging/small/stand-ins.ts';

const root = path.resolve(import.meta.dirname, '..');
const readme = readFileSync(path.join(root, 'agent/README.md'), 'utf8');

const parsed = (texts: Readonly<Record<string, string>>): Sources =>
  new Map(Object.entries(texts).map(([file, text]) => [file, parseSource(file, text)]));

const below = (folder: string): Sources =>
  parsed(
    Object.fromEntries(
      globSync(`${folder}/**/*.ts`, { cwd: root }).map((file) => [file, readFileSync(path.join(root, file), 'utf8')]),
    ),
  );
const agent = below('agent');
const tests = below('test');

/** What the small engine has, with what it stands for. */
const standIns = new Map([
  ...Object.entries(replaced).map(([file, own]) => [`agent/${own}`, `agent/${file}`] as const),
  ...Object.entries(modules).map(([name, own]) => [`agent/${own}`, name] as const),
]);

/** The files of system/ that write for others, each with what it has that only reads. */
const reading = {
  'agent/system/write-files.ts': ['tempPathOf'],
  'agent/system/folder-mount.ts': ['HeldFolder', 'holdFolder', 'xattrLength'],
  'agent/system/lock.ts': ['isFileLocked', 'lockHolder', 'Lock'],
  'agent/system/mount.ts': ['MountPoint', 'readMounts', 'parseMountInfo'],
  'agent/system/users-file.ts': [],
};

/** Who may write to dockerd's store, and mount disks or take them away. */
const writesStore = [
  'agent/boot/check-source.ts',
  'agent/boot/choose-duplicate.ts',
  'agent/boot/folder-sources.ts',
  'agent/boot/load-disk.ts',
  'agent/boot/mount-disks.ts',
  'agent/boot/mount-source.ts',
  'agent/boot/present-mounts.ts',
  'agent/boot/private-mounts.ts',
  'agent/containerd/apply-namespace.ts',
  'agent/containerd/containerd-ledger.ts',
  'agent/containerd/link-farm.ts',
  'agent/containerd/private/private-containerd.ts',
  'agent/overlay2/apply/apply-steps.ts',
  'agent/overlay2/apply/layer-records.ts',
  'agent/overlay2/store-choice.ts',
  'agent/overlay2/store-lock.ts',
  'agent/overlay2/store/copy-tar-split.ts',
  'agent/overlay2/store/ledger.ts',
];
/**
 * Who else may write in a guest: the status and its socket, what a private containerd has below /run, what a process
 * after READY leaves to the next, and what `boot-order` is told to write.
 */
const writesElsewhere = [
  'agent/commands/boot-order.ts',
  'agent/containerd/private/private-place.ts',
  'agent/daemon/answer.ts',
  'agent/daemon/handed-start.ts',
  'agent/status/publish.ts',
  'agent/status/server.ts',
  'agent/status/socket-owner.ts',
];
/** Who writes on the machine where disks and packages are made, and never in a guest. */
const makers = ['agent/builder/', 'agent/packaging/', 'agent/streams/spool.ts'];

describe('agent/', () => {
  it('has rooms that import downwards only, as its README says', () =>
    assert.deepEqual(roomProblems(agent, parseRooms(readme)), []));

  it('has no circles of imports, between files or between folders', () => assert.deepEqual(circles(agent), []));

  it('has one door to the operating system', () => assert.deepEqual(doorProblems(agent), []));

  it('does in one file of system/ each thing that only system/ may do, or in those that are listed', () =>
    assert.deepEqual(doorFiles(agent), {
      'starts programs': ['child-process.ts'],
      'calls foreign functions': ['libc.ts'],
      'makes system calls': [
        'clock.ts',
        'datagram.ts',
        'entry-types.ts',
        'folder-mount.ts',
        'lock.ts',
        'memory.ts',
        'mount.ts',
        'page-cache.ts',
        'poll.ts',
        'start-writing.ts',
        'sync-filesystem.ts',
        'will-need.ts',
      ],
      'reads the environment': ['environment.ts'],
      'reads the clock': ['clock.ts'],
      'watches devices': ['watch-devices.ts'],
      watches: ['watch-folders.ts'],
      'loads what is not imported': ['digest.ts', 'libc.ts', 'stderr.ts'],
      'takes what one runtime has': ['collect-garbage.ts', 'digest.ts'],
    }));

  it('exports no value that no other file imports, at once or later', () =>
    assert.deepEqual(unusedExports(new Map([...agent, ...tests]), standIns), []));

  it('has no two files of one name, but those that stand for another, and those that are called as a command is', () => {
    const files = [...agent.keys()].filter((file) => !/^agent\/(tiny|commands)\//.test(file));
    const byName = Map.groupBy(files, (file) => path.posix.basename(file));
    assert.deepEqual(
      [...byName.values()].filter(({ length }) => length > 1),
      [],
    );
  });

  it('is written in .ts files, which are those that the rules look at', () =>
    assert.deepEqual(globSync('agent/**/*.{mts,cts,tsx,js,mjs,cjs,jsx}', { cwd: root }), []));

  it('writes to the store where it is said to, and nowhere else', () => {
    const found = [...writers(agent, reading).keys()]
      .filter((file) => ![...makers, 'agent/system/', 'agent/tiny/fs'].some((one) => file.startsWith(one)))
      .toSorted();
    assert.deepEqual(found, [...writesElsewhere, ...writesStore].toSorted());
  });

  it('has files written for others in system/ by three files, beside the standard streams', () =>
    assert.deepEqual([...writers(agent, {}).keys()].filter((file) => file.startsWith('agent/system/')).toSorted(), [
      'agent/system/copy-to-stdout.ts',
      'agent/system/lock.ts',
      'agent/system/stderr.ts',
      'agent/system/users-file.ts',
      'agent/system/write-files.ts',
    ]));
});

describe('test/', () => {
  it('makes temporary folders in one file', () =>
    assert.deepEqual(
      [...writers(tests, {})]
        .filter(([, names]) => names.some((name) => name.startsWith('mkdtemp')))
        .map(([file]) => file),
      ['test/support/temp-tree.ts'],
    ));
});

describe('the rule of the rooms', () => {
  const rule = '```layers\nlow:\nsystem: low\nhigh: low system\n```\n';
  const rooms = parseRooms(rule);
  const sound = {
    'agent/low/a.ts': '',
    'agent/system/a.ts': "import '../low/a.ts';",
    'agent/high/a.ts': "import '../low/a.ts'; export * from '../system/a.ts';",
  };

  it('has nothing against imports downwards', () => assert.deepEqual(roomProblems(parsed(sound), rooms), []));

  for (const [kind, text] of [
    ['an import', "import { a } from '../high/a.ts';"],
    ['an import for its effects', "import '../high/a.ts';"],
    ['an import of a type', "import type { A } from '../high/a.ts';"],
    ['a type by name', "import { type A } from '../high/a.ts';"],
    ['an export', "export { a } from '../high/a.ts';"],
    ['an export of a type', "export type { A } from '../high/a.ts';"],
    ['an export of all', "export * from '../high/a.ts';"],
    ['a lazy import', "const a = async () => (await import('../high/a.ts')).a;"],
    ['a type of a lazy import', "let a: import('../high/a.ts').A;"],
    ['an import by require', "import a = require('../high/a.ts');"],
  ] as const) {
    it(`complains of ${kind} upwards`, () =>
      assert.deepEqual(roomProblems(parsed({ ...sound, 'agent/low/a.ts': text }), rooms), [
        'agent/low/a.ts imports agent/high/a.ts: low may not import high',
      ]));
  }

  it('complains of a type under a name that only the compiler finds', () =>
    assert.deepEqual(
      roomProblems(parsed({ ...sound, 'agent/low/a.ts': "import type { A } from '../high/a.js';" }), rooms),
      [
        'agent/low/a.ts imports agent/high/a.js: low may not import high',
        'agent/low/a.ts imports agent/high/a.js, which is not there',
      ],
    ));

  it('complains of a room that it does not have, of one that is not there, and of what is allowed for nothing', () => {
    assert.deepEqual(roomProblems(parsed({ ...sound, 'agent/new/a.ts': '' }), rooms), [
      'agent/new/a.ts: its room new is not in the rule',
    ]);
    assert.deepEqual(roomProblems(parsed({ 'agent/low/a.ts': '', 'agent/system/a.ts': '' }), rooms), [
      'high is in the rule, and there is none',
      'system -> low is allowed, and nothing needs it',
      'high -> low is allowed, and nothing needs it',
      'high -> system is allowed, and nothing needs it',
    ]);
  });

  it('cannot allow what is not below, and must be there', () => {
    assert.throws(() => parseRooms('```layers\nlow: high\nhigh: low\n```\n'), {
      message: 'low: expected rooms that stand below it, found high',
    });
    assert.throws(() => parseRooms('low:\n'), /expected a block/);
    assert.throws(
      () => parseRooms('```layers\nlow - high\n```\n'),
      /expected 'room: rooms that it may import', found 'low - high'/,
    );
  });

  it('cannot be got around by an import that is computed', () =>
    assert.throws(
      () => parsed({ 'agent/low/a.ts': 'await import(name);' }),
      /agent\/low\/a.ts: expected each import to name/,
    ));
});

describe('a circle', () => {
  for (const [between, texts, found] of [
    [
      'two files that import types of each other',
      {
        'agent/low/a.ts': "import type { B } from './b.ts'; export type A = B;",
        'agent/low/b.ts': "import type { A } from './a.ts'; export type B = A;",
      },
      ['agent/low/a.ts <-> agent/low/b.ts'],
    ],
    [
      'three, one of them lazy',
      {
        'agent/low/a.ts': "import './b.ts';",
        'agent/low/b.ts': "export * from './c.ts';",
        'agent/low/c.ts': "await import('./a.ts');",
      },
      ['agent/low/a.ts <-> agent/low/b.ts <-> agent/low/c.ts'],
    ],
    ['a file and itself', { 'agent/low/a.ts': "import './a.ts';" }, ['agent/low/a.ts']],
    [
      'folders, where none is between files',
      {
        'agent/low/one/a.ts': "import '../two/a.ts';",
        'agent/low/one/b.ts': '',
        'agent/low/two/a.ts': '',
        'agent/low/two/b.ts': "import type { A } from '../one/b.ts';",
      },
      ['agent/low/one <-> agent/low/two'],
    ],
    [
      'no folder and those in it: it has what they stand on, and what puts them together',
      {
        'agent/low/a.ts': "import './one/a.ts';",
        'agent/low/b.ts': '',
        'agent/low/one/a.ts': "import '../b.ts';",
      },
      [],
    ],
    [
      'nobody: two ways to one file',
      {
        'agent/low/a.ts': "import './b.ts'; import './c.ts';",
        'agent/low/b.ts': "import './c.ts';",
        'agent/low/c.ts': '',
      },
      [],
    ],
  ] as const) {
    it(`between ${between}`, () => assert.deepEqual(circles(parsed(texts)), found));
  }
});

describe('the door', () => {
  for (const [text, problem] of [
    ["import { spawn } from 'node:child_process';", 'starts programs by itself: node:child_process'],
    ["import type { ChildProcess } from 'child_process';", 'starts programs by itself: child_process'],
    ["const { execa } = await import('execa');", 'starts programs by itself: execa'],
    ["process.getBuiltinModule('child_process');", 'starts programs by itself: child_process'],
    ["import koffi from 'koffi';", 'calls foreign functions by itself: koffi'],
    ["import { dlopen } from 'bun:ffi';", 'calls foreign functions by itself: bun:ffi'],
    ["import { systemCall } from '../system/libc.ts';", 'makes system calls by itself: ../system/libc.ts'],
    ["import { createRequire } from 'node:module';", 'loads what is not imported by itself: node:module'],
    ["import { env } from 'node:process';", 'reads the environment by itself: node:process'],
    ["process.env['PATH'];", 'reads the environment by itself: process.env'],
    ["process['env'];", 'reads the environment by itself: process.env'],
    ['const { env } = process;', 'reads the environment by itself: process.*'],
    ['process.hrtime();', 'reads the clock by itself: process.hrtime'],
    ['performance.now();', 'reads the clock by itself: performance'],
    ['Date.now();', 'reads the clock by itself: Date.now'],
    ['new Date();', 'reads the clock by itself: new Date()'],
    ['Date();', 'reads the clock by itself: new Date()'],
    ['new (Date)();', 'reads the clock by itself: new Date()'],
    ['const { now } = Date;', 'reads the clock by itself: Date.*'],
    ['const { timeout } = AbortSignal;', 'reads the clock by itself: AbortSignal.*'],
    ['import.meta.require(name);', 'takes what one runtime has by itself: import.meta.require'],
    ["import { $ } from 'bun';", 'takes what one runtime has by itself: bun'],
    ["import { runInThisContext } from 'node:vm';", 'loads what is not imported by itself: node:vm'],
    ['setTimeout(act, 1);', 'reads the clock by itself: setTimeout'],
    ['const wait = setInterval;', 'reads the clock by itself: setInterval'],
    ["import { setTimeout } from 'node:timers/promises';", 'reads the clock by itself: node:timers/promises'],
    ['Atomics.wait(cell, 0, 0, 1);', 'reads the clock by itself: Atomics.wait'],
    ["import { watch } from 'node:fs';", 'watches by itself: node:fs'],
    ["import * as fs from 'fs';", 'watches by itself: fs'],
    ["import { watch } from 'node:fs/promises';", 'watches by itself: node:fs/promises'],
    ["import { watch } from 'chokidar';", 'watches devices by itself: chokidar'],
  ] as const) {
    it(`is asked for: ${text}`, () => {
      assert.ok(doorProblems(parsed({ 'agent/builder/a.ts': text })).includes(`agent/builder/a.ts ${problem}`));
      assert.deepEqual(doorProblems(parsed({ 'agent/system/a.ts': text })), []);
    });
  }

  for (const text of [
    "import { readFileSync } from 'node:fs';",
    "import { setImmediate } from 'node:timers/promises';",
    'new Date(0); Date.parse(text); let at: Date; let end: AbortSignal; import.meta.dirname;',
    'socket.setTimeout(1); const is = { env: 1, performance: 2 }; is.env;',
    'process.exit(process.pid);',
  ])
    it(`is not needed for: ${text}`, () => assert.deepEqual(doorProblems(parsed({ 'agent/builder/a.ts': text })), []));
});

describe('who writes', () => {
  const system = { 'agent/system/write-files.ts': ['tempPathOf'] };
  for (const [text, names] of [
    ["import { mkdirSync, readFileSync } from 'node:fs';", ['mkdirSync']],
    ["import { rm as remove } from 'fs/promises';", ['rm']],
    ["import fs from 'node:fs';", ['node:fs']],
    ["import { tempPathOf, replaceFile } from '../system/write-files.ts';", ['replaceFile']],
    ["const { replaceFile } = await import('../system/write-files.ts');", ['replaceFile']],
    ["(await import('../system/write-files.ts')).replaceFile(path);", ['replaceFile']],
    ["const files = await import('../system/write-files.ts');", ['../system/write-files.ts']],
    ["import('../system/write-files.ts').then(write);", ['../system/write-files.ts']],
    ['openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);', ['O_WRONLY']],
    ["const file = await open(path, 'r+');", ['r+']],
    ['openSync(path, flags);', ['openSync by flags that are not written out']],
    ["openSync(path, isNew ? 'wx' : 'r');", ['openSync by flags that are not written out']],
    ['openSync(path, 0o101);', ['openSync by flags that are not written out']],
    ["import { openSync as make } from 'node:fs'; make(path, 'w');", ['openSync as make']],
    ['const make = openSync;', ['openSync']],
    ['const { O_WRONLY } = constants;', ['O_WRONLY']],
    ["import fs = require('node:fs');", ['node:fs']],
    ["import { openSync, lstatSync } from 'node:fs'; openSync(path, 'r'); openSync(path, constants.O_RDONLY);", []],
    ["import { open as openFile } from 'node:fs/promises'; openFile(path, constants.O_RDONLY | O_PATH);", []],
    ['Connection.open(path, timeoutMs);', []],
    ["import { tempPathOf } from '../system/write-files.ts';", []],
  ] as const) {
    it(`is seen: ${text}`, () =>
      assert.deepEqual(writers(parsed({ 'agent/boot/a.ts': text }), system).get('agent/boot/a.ts') ?? [], names));
  }
});

describe('an unused export', () => {
  const exporting =
    'export const a = 1; export class B {} export type F = 1; const c = 1; export { c as d }; export function e() {}';
  for (const [text, unused] of [
    ['', ['a', 'B', 'd', 'e']],
    ["import { a, B } from './one.ts';", ['d', 'e']],
    ["import { d as e } from './one.ts';", ['a', 'B', 'e']],
    ["const { a, e: f } = await import('./one.ts');", ['B', 'd']],
    ["(await import('./one.ts')).e();", ['a', 'B', 'd']],
    ["let b: import('./one.ts').B;", ['a', 'd', 'e']],
    ["import * as one from './one.ts';", []],
    ["const one = await import('./one.ts');", []],
    ["const { a, ...others } = await import('./one.ts');", []],
    ["export * from './one.ts';", []],
  ] as const) {
    it(`is seen beside: ${text}`, () =>
      assert.deepEqual(
        unusedExports(parsed({ 'agent/low/one.ts': exporting, 'agent/low/two.ts': text })),
        unused.map((name) => `agent/low/one.ts ${name}`),
      ));
  }
});
