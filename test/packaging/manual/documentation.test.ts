import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { execa } from 'execa';
import { programHelp } from '../../../agent/packaging/manual/program-help.ts';
import { documentation } from '../../../agent/packaging/manual/documentation.ts';
import { configKeys } from '../../../agent/packaging/manual/man-pages.ts';
import { states } from '../../../agent/status/state.ts';
import { codes } from '../../../agent/messages/codes.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree } from '../../support/temp-tree.ts';

const help = programHelp();
const readme = readFileSync(path.resolve(import.meta.dirname, '../../../agent/commands/README.md'), 'utf8');

describe('man pages and completions', () => {
  let folder: string;
  const at = (name: string): string => path.join(folder, name);
  const completions = { bash: 'docker-preloader', zsh: '_docker-preloader', fish: 'docker-preloader.fish' };

  before(async () => {
    await ensureDebianPackages(['mandoc', 'groff', 'man-db', 'zsh', 'fish'], { install: true });
    folder = (await tempTree('dpl-docs')).path;
    for (const { path: name, content } of documentation(new Date('2020-01-02T03:04:05Z'))) {
      const file = name.endsWith('.gz');
      writeFileSync(at(path.basename(name, '.gz')), file ? gunzipSync(content) : content);
    }
    mkdirSync(at('files'));
    writeFileSync(at('files/only-here.qcow2'), '');
  });
  after(cleanUpAll);

  for (const page of ['docker-preloader.8', 'docker-preloader-config.5']) {
    it(`${page}: neither mandoc nor groff nor man has anything against it`, async () => {
      for (const [command, ...args] of [
        ['mandoc', '-Tlint', '-Wwarning'],
        ['groff', '-man', '-ww', '-Tutf8', '-z'],
        ['man', '--warnings', '--local-file'],
      ] as const) {
        const { stdout, stderr } = await execa(command, [...args, at(page)], { env: { LC_ALL: 'C.UTF-8' } });
        assert.deepEqual([command === 'man' ? '' : stdout, stderr], ['', ''], command);
      }
    });
  }

  async function rendered(page: string): Promise<string> {
    const { stdout } = await execa('man', ['--local-file', at(page)], { env: { LC_ALL: 'C.UTF-8', MANWIDTH: '500' } });
    return stdout.replaceAll(/ +/g, ' ');
  }

  it('docker-preloader(8) has every command, option, example, state and code', async () => {
    const text = await rendered('docker-preloader.8');
    assert.ok(help.commands.length >= 8);
    for (const { name, usage, description, options, examples } of help.commands) {
      const words = [
        usage.replace(' [options]', ''),
        description,
        ...options.flatMap((option) => [option.term, option.description]),
        ...examples,
      ];
      for (const word of words) assert.ok(text.includes(word.replaceAll(/ +/g, ' ')), `${name}: ${word}`);
    }
    for (const word of [...Object.keys(states), ...Object.keys(codes)])
      assert.match(text, new RegExp(`^ ${word}\\s`, 'm'));
  });

  it('docker-preloader-config(5) and the README of the commands have every key of the schema, with default and meaning', async () => {
    const text = await rendered('docker-preloader-config.5');
    assert.ok(configKeys().length >= 9);
    for (const { key, type, defaultText, meaning } of configKeys()) {
      assert.ok(text.includes(`${key} (${type})`), key);
      assert.ok(text.includes(`${meaning}. Default: ${defaultText}.`.replaceAll('`', '')), key);
      assert.ok(readme.includes(`\n| \`${key}\` | ${defaultText} | ${meaning} |\n`), `the README's row of ${key}`);
    }
  });

  it('the README of the commands has every command in its table, with its options', () => {
    for (const { name, options } of help.commands) {
      const row = new RegExp(`^\\| \`docker-preloader ${name}\\b([^\`]*)\` \\|.*$`, 'm').exec(readme);
      assert.ok(row, `expected a row for ${name} in the README`);
      // build's have a table of their own.
      const where = name === 'build' ? readme : row[0];
      for (const { long } of options)
        if (!['--config', '--help'].includes(long))
          assert.ok(where.includes(long), `${name}: expected ${long} in the README`);
    }
  });

  /** What each shell makes of a line, and a tab behind it: the words that it offers. */
  type Complete = (lines: readonly string[]) => Promise<readonly (readonly string[])[]>;

  const bash: Complete = async (lines) => {
    const script = `set -u; source "$1"; cd "$2"; complete -p docker-preloader >&2
      while IFS= read -r line; do
        read -ra COMP_WORDS <<< "$line"; [[ $line == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _docker_preloader; echo "\${COMPREPLY[*]}"
      done`;
    const { stdout, stderr } = await execa(
      'bash',
      ['--norc', '-c', script, 'bash', at(completions.bash), at('files')],
      { input: `${lines.join('\n')}\n` },
    );
    assert.equal(stderr, 'complete -F _docker_preloader docker-preloader');
    return stdout.split('\n').map((line) => line.split(' ').filter((word) => word !== ''));
  };
  const zsh: Complete = async (lines) => {
    const { stdout } = await execa(
      'zsh',
      ['-f', path.join(import.meta.dirname, 'complete.zsh'), folder, at('said'), at('files')],
      { input: `${lines.join('\n')}\n`, timeout: 120_000, env: { HOME: folder } },
    );
    return stdout
      .split('\n')
      .map((line, index) => (line === lines[index] ? [] : [line.trim().split(' ').at(-1) ?? '']));
  };
  const fish: Complete = async (lines) => {
    const script = `source ${at(completions.fish)}; cd ${at('files')}; while read --line line; complete -C "$line" | string replace --regex '\\t.*' '' | string join ' '; echo ===; end`;
    const { stdout } = await execa('fish', ['--no-config', '-c', script], {
      input: `${lines.join('\n')}\n`,
      env: { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder },
    });
    return stdout.split(/\n?===\n?/).map((line) => line.split(' ').filter((word) => word !== ''));
  };

  for (const [shell, complete] of Object.entries({ bash, zsh, fish })) {
    it(`${shell} completes commands, options, the values that it can know, and files`, async () => {
      const cut = (word: string): string => word.slice(0, -1);
      const cases: (readonly [line: string, expected: string | undefined])[] = [
        ...help.commands.map(({ name }) => [`docker-preloader ${cut(name)}`, name] as const),
        ...help.commands.flatMap(({ name, options }) =>
          options.flatMap(({ long, value }) => [
            [`docker-preloader ${name} ${cut(long)}`, long] as const,
            ...(value.kind === 'choice'
              ? value.choices.map((choice) => [`docker-preloader ${name} ${long} ${cut(choice)}`, choice] as const)
              : []),
            ...(value.kind === 'file' ? [[`docker-preloader ${name} ${long} only`, 'only-here.qcow2'] as const] : []),
          ]),
        ),
        ['docker-preloader inspect only', 'only-here.qcow2'],
        ['docker-preloader build -o out.qcow2 only', 'only-here.qcow2'],
        ['docker-preloader plan only', undefined],
        ['docker-preloader build --label only', undefined],
      ];
      // A third of a second a line in zsh: there, one option of each kind.
      if (shell === 'zsh')
        cases.splice(
          0,
          cases.length,
          ...cases.filter(
            ([line]) => !line.includes(' -') || / build (--quie$|--engine docker-v$|--output |--label |-o )/.test(line),
          ),
        );
      const offered = await complete(cases.map(([line]) => line));
      for (const [index, [line, expected]] of cases.entries()) {
        const words = offered[index] ?? [];
        if (expected === undefined) assert.deepEqual(words, [], line);
        else assert.ok(words.includes(expected), `${line}: expected ${expected}, found '${words.join(' ')}'`);
      }
    });
  }
});
