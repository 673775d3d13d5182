import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { daemonSettings, noSettings, privateConfig } from '../../../agent/containerd/private/private-config.ts';

/** As containerd 1.7 and 2.1 write their configuration. */
const dump = (quote: string): string => {
  const table = (name: string, rest = ''): string => `[plugins.${quote}io.containerd.${name}${quote}${rest}]`;
  return `version = 3
disabled_plugins = [${quote}io.containerd.snapshotter.v1.overlayfs${quote}, ${quote}x${quote}]

[grpc]
  address = ${quote}/run/system.sock${quote}

[plugins]
  ${table('content.v1.content')}
    a = 1

    ${table('content.v1.content', '.part')}
      b = [${quote}[plugins.x]${quote}]

  ${table('grpc.v1.cri')}
    c = 1

    ${table('grpc.v1.cri', '.containerd')}
      snapshotter = ${quote}native${quote}

      ${table('grpc.v1.cri', '.containerd.default_runtime')}
        snapshotter = ${quote}other${quote}

  [${table('metadata.v1.bolt', '.list')}]
    d = 1

  ${table('snapshotter.v1.overlayfs')}
    root_path = ${quote}/x [y]${quote}

  ${table('snapshotter.v1.overlayfs-other')}
    e = 1

[timeouts]
  f = 1
`;
};

describe('the configuration of a private containerd', () => {
  for (const quote of ['"', "'"])
    it(`takes what the store depends on from a dump that quotes with ${quote}`, () => {
      const { tables, disabled, criSnapshotter } = daemonSettings(dump(quote));
      const kept = tables.split('\n');
      assert.deepEqual(
        kept.map((line) => line.trim()).filter((line) => line !== ''),
        [
          `[plugins.${quote}io.containerd.content.v1.content${quote}]`,
          'a = 1',
          `[plugins.${quote}io.containerd.content.v1.content${quote}.part]`,
          `b = [${quote}[plugins.x]${quote}]`,
          `[[plugins.${quote}io.containerd.metadata.v1.bolt${quote}.list]]`,
          'd = 1',
          `[plugins.${quote}io.containerd.snapshotter.v1.overlayfs${quote}]`,
          `root_path = ${quote}/x [y]${quote}`,
        ],
      );
      assert.deepEqual([disabled, criSnapshotter], [['io.containerd.snapshotter.v1.overlayfs'], 'native']);
    });

  it('takes nothing where there is nothing', () => assert.deepEqual(daemonSettings(''), noSettings));

  it('has paths as strings of TOML', () => {
    const text = privateConfig({ root: '/a"b\\c\nd\x7F', state: '/s', socket: '/t' }, noSettings);
    assert.match(text, /^root = "\/a\\"b\\\\c\\nd\\u007f"$/m);
  });
});
