import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isPlain, plainJson, rubyText, shellLines, shellWord, xmlText } from '../../agent/attach/quoting.ts';
import { aDisk } from './some-disks.ts';

const odd = [
  '',
  'plain-1.0/x',
  'a b',
  `it's`,
  '"',
  '$(id) `id` $HOME',
  '\\',
  '\\\\n',
  'a\nb',
  'tab\t',
  '-o',
  '~',
  '*?[a]',
  '#x',
  '!x',
  'ä\u{1f433}',
  '<a href="x">&amp;',
];

describe('what is printed for others to read', () => {
  it('is one word for a shell, whatever is in it', () => {
    const text = odd.map(shellWord).join(' ');
    const words = execFileSync('sh', ['-c', `printf '%s\\0' ${text}`], { encoding: 'utf8' });
    assert.deepEqual(words.split('\0').slice(0, -1), odd);
  });

  it('has a line for each option, which a shell takes together', () => {
    const text = shellLines(['--disk', 'a b', 'c', '-device', 'd,e']);
    assert.equal(text, `--disk 'a b' c \\\n-device d,e\n`);
    assert.equal(execFileSync('sh', ['-c', `printf '%s.' ${text}`], { encoding: 'utf8' }), '--disk.a b.c.-device.d,e.');
  });

  it('is JSON that says the same, in characters that nobody obeys', () =>
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = plainJson({ text });
        assert.match(json, /^[ -~]*$/);
        assert.doesNotMatch(json, /['<&]/);
        assert.deepEqual(JSON.parse(json), { text });
      }),
    ));

  it('is text for XML that says the same, or is refused', () => {
    const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
    const read = (text: string): string =>
      text.replaceAll(/&(?:#(\d+)|(\w+));/g, (_, code: string | undefined, name: string) =>
        code === undefined ? (entities[name] ?? assert.fail(name)) : String.fromCharCode(Number(code)),
      );
    for (const text of odd) {
      const written = xmlText(aDisk('dpl-a'), text);
      assert.doesNotMatch(written, /[<>"'\n\t]|&(?![#a-z])/);
      assert.equal(read(written), text);
    }
    for (const text of ['\u0001', 'a\u001b[31m', '\ufffe'])
      assert.throws(
        () => xmlText(aDisk('dpl-a'), text),
        /^PreloaderError: \/srv\/dpl-a\.qcow2: expected a path that XML can hold, found control characters in it: make a link to it$/,
      );
  });

  it('is text for Ruby', () =>
    assert.deepEqual(["a'b", String.raw`c\d`, '#{e}'].map(rubyText), [
      String.raw`'a\'b'`,
      String.raw`'c\\d'`,
      `'#{e}'`,
    ]));

  it('is plain where all of it is seen', () =>
    assert.deepEqual(['a b,', 'a\nb', 'a\u009bb', 'a\u202eb'].map(isPlain), [true, false, false, false]));
});
