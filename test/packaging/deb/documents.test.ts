import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { programHelp } from '../../../agent/packaging/manual/program-help.ts';
import { FORMAT_VERSION } from '../../../agent/disk/manifest.ts';
import { documents } from '../../../agent/packaging/deb/documents.ts';

const help = programHelp();
const root = path.resolve(import.meta.dirname, '../../..');
const read = (name: string): string => readFileSync(path.join(root, name), 'utf8');

describe('the documents', () => {
  const readmes = ['README.md', ...globSync('{agent,units,test}/**/README.md', { cwd: root })];

  for (const name of readmes) {
    it(`${name}: each link leads to a file and a heading of the repository`, () => {
      for (const [link, target, anchor] of linksOf(read(name))) {
        const file = path.join(path.dirname(name), target === '' ? path.basename(name) : target);
        assert.ok(existsSync(path.join(root, file)), link);
        if (anchor !== undefined) assert.ok(anchorsOf(read(file)).includes(anchor), link);
      }
    });
  }

  it('name files and folders that there are, with `*` where they name several', () => {
    const isThere = (file: string): boolean => globSync([file, `${file}.test.ts`], { cwd: root }).length > 0;
    let found = 0;
    for (const name of readmes) {
      const named = codeIn(read(name)).flatMap(
        (code) => code.match(/(?<![\w./-])(?:agent|test|units)\/[\w./*-]*/g) ?? [],
      );
      assert.deepEqual(
        named.filter((file) => !isThere(file)),
        [],
        name,
      );
      found += named.length;
    }
    assert.ok(found > 60, `${found} names`);
  });

  it('type commands of ours that there are, with options that they have, and scripts of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Readonly<Record<string, string>> };
    let typed = 0;
    for (const name of readmes) {
      for (const code of codeIn(read(name))) {
        const [program = '', ...args] = code.split(/[\s[\]]+/);
        if (program === 'npm') {
          const script = args[0] === 'run' ? args[1] : args[0];
          // npm's own command, which needs no script.
          assert.ok(script === 'pack' || (script !== undefined && script in scripts), `${name}: ${code}`);
          typed += 1;
        } else if (path.basename(program) === 'docker-preloader' && args.length > 0) {
          const command = help.commands.find((one) => one.name === args[0]);
          assert.ok(command, `${name}: ${code}`);
          const known = command.options.flatMap(({ short, long }) => [short, long]);
          const given = args.filter((word) => /^-./.test(word));
          assert.deepEqual(
            given.filter((option) => !known.includes(option)),
            [],
            `${name}: ${code}`,
          );
          typed += 1;
        }
      }
    }
    assert.ok(typed > 60, `${typed} commands`);
  });

  it('lead to each other where they are installed, too', () => {
    const tree = new Map(documents(root).map(({ path: name, content }) => [name, content]));
    let followed = 0;
    for (const [name, content] of tree) {
      if (!name.endsWith('.md')) continue;
      for (const [link, target] of linksOf(content.toString('utf8'))) {
        if (target === '') continue;
        assert.ok(tree.has(path.posix.join(path.posix.dirname(name), target)), `${name}: ${link}`);
        followed += 1;
      }
    }
    assert.ok(followed > 20, `${followed} links`);
    assert.ok(tree.get('usr/share/doc/docker-preloader/README.md')?.includes('](changelog.gz)'));
  });

  it('say in the table of what to add, six of them, where there is a room, a file and a test', () => {
    const [, table = ''] =
      /^## What to add, and where\n\n\|.*\n\|.*\n((?:\|.*\n)+)/m.exec(read('agent/README.md')) ?? [];
    const rows = table.trimEnd().split('\n');
    assert.equal(rows.length, 6);
    for (const row of rows) {
      const [, , room = '', begin = '', test = ''] = row.split('|');
      const paths = [room, begin, test].map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name));
      for (const [kind, names] of [
        [/^agent\/.*\/$/, paths[0]],
        [/^agent\/.*\.ts$/, paths[1]],
        [/^test\/.*\.test\.ts$/, paths[2]],
      ] as const) {
        assert.ok(names !== undefined && names.length > 0, row);
        for (const name of names) {
          assert.match(name, kind);
          assert.ok(existsSync(path.join(root, name)), name);
        }
      }
      for (const name of paths[1] ?? [])
        assert.ok(
          paths[0]?.some((folder) => name.startsWith(folder)),
          row,
        );
    }
  });

  it('name each room of agent/, and no other', () => {
    const text = read('agent/README.md');
    const rooms = globSync('agent/*/', { cwd: root }).map((name) => `${name}/`);
    const named = [...text.matchAll(/^\| `(agent\/[^`]+)` \|/gm)].map(([, name = '']) => name);
    assert.deepEqual(named.toSorted(), rooms.toSorted());
  });

  it('show what this version prints of its disks', () => {
    const shown = readmes.flatMap((name) =>
      [...read(name).matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, lines = '']) =>
        [...lines.matchAll(/, format (\d+\.\d+), /g)].map(([, format]) => format),
      ),
    );
    assert.ok(shown.length >= 3);
    assert.deepEqual(new Set(shown), new Set([FORMAT_VERSION]));
  });

  it('README.md is read in two minutes: 10 kB at most', () => {
    assert.ok(statSync(path.join(root, 'README.md')).size <= 10_000);
  });
});

describe('the changelog', () => {
  const text = read('agent/packaging/deb/debian/changelog');
  /** deb-changelog(5): a heading, an empty line, changes, an empty line, who and when. */
  const entries = [
    ...text.matchAll(
      /docker-preloader \(([^)]+)\) unstable; urgency=medium\n\n((?: {2}\* .+\n(?: {4}.+\n)*)+)\n -- .+ <.+@.+> {2}(.+)\n(?:\n|$)/g,
    ),
  ];

  it("begins with package.json's version, and is in Debian's form from its first line to its last", () => {
    assert.equal(entries.map(([entry]) => entry).join(''), text);
    const { version } = JSON.parse(read('package.json')) as { version: string };
    assert.deepEqual(
      entries.map(([, name]) => name),
      [version, '0.1.0'],
    );
  });

  it('has its entries from the newest to the oldest, with dates that there are', () => {
    const dates = entries.map(([, , , date = '']) => date);
    for (const date of dates) assert.equal(new Date(date).toUTCString().replace('GMT', '+0000'), date);
    const times = dates.map((date) => Date.parse(date));
    assert.deepEqual(
      times,
      times.toSorted((a, b) => b - a),
    );
  });

  it('is installed as it is', () => {
    const installed = documents(root).find(
      ({ path: name }) => name === 'usr/share/doc/docker-preloader/changelog.gz',
    )?.content;
    assert.ok(installed);
    assert.equal(gunzipSync(installed).toString('utf8'), text);
    // gzip's header (RFC 1952): no name, no time.
    assert.deepEqual([...installed.subarray(3, 8)], [0, 0, 0, 0, 0]);
  });
});

/**
 * The relative links of a text in Markdown, in each of its forms, outside of its fences: the link, the path, the
 * anchor.
 */
function linksOf(text: string): (readonly [link: string, target: string, anchor: string | undefined])[] {
  return [...withoutFences(text).matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|(?:href|src)="([^"]+)"/gm)]
    .map(([, link, defined, html]) => link ?? defined ?? html ?? '')
    .filter((link) => !link.includes('://'))
    .map((link) => {
      const [target = '', anchor] = link.split('#');
      return [link, target, anchor];
    });
}

/** What headings are called in links, as GitHub does it. */
function anchorsOf(text: string): string[] {
  return [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The commands in a text: what stands between backticks, and lines of shell, one for each that is started. */
function codeIn(text: string): string[] {
  const fenced = [...text.matchAll(/^```(sh|console)\n(.*?)^```$/gms)].flatMap(([, kind, lines = '']) =>
    lines
      .split('\n')
      .filter((line) => kind === 'sh' || line.startsWith('# '))
      .map((line) => line.replace(/^# /, '').replace(/ {2,}#.*/, '')),
  );
  const inline = [...withoutFences(text).matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
  return [...fenced, ...inline].flatMap((line) => line.split(/\||&&|;/)).map((code) => code.trim());
}

function withoutFences(text: string): string {
  return text.replaceAll(/^```.*?^```$/gms, '');
}
