import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { nixosPlace, type NixosPlace, unpackedRelease } from '../support/nixos.ts';
import { tempTree } from '../support/temp-tree.ts';

/** As a user of a release has them. */
describe('package and disk for NixOS, built by Nix in its sandbox', () => {
  let place: NixosPlace;
  let release: string;
  const outside = (file: string): string => path.join(place.nix.store, path.basename(file));
  const preloader = (value: string, module = path.join(release, 'share/docker-preloader/nixos/module.nix')): string =>
    place.expression(
      [
        'virtualisation.docker.enable = true; virtualisation.dockerPreloader.images = with pkgs; [ (image "one") (streamedImage "two") ];',
      ],
      `machine.config.virtualisation.dockerPreloader.${value}`,
      { module },
    );
  const built = async (value: string, ...options: readonly string[]): Promise<string> =>
    (await place.nix.build(preloader(value), ...options))[0] ?? assert.fail();

  before(async () => {
    place = await nixosPlace('trixie', ['one', 'two']);
    release = await unpackedRelease();
  });
  after(cleanUpAll);

  it('the package has both programs, with the loader of glibc from the store, and units that start them', async () => {
    const file = await built('package');
    const { stdout } = await execa('readelf', [
      '--program-headers',
      path.join(outside(file), 'lib/docker-preloader/docker-preloader'),
    ]);
    assert.match(stdout, /interpreter: \/nix\/store\/[0-9a-z]{32}-glibc\/lib\/ld-linux-x86-64\.so\.2\]/);
    for (const [unit, start] of [
      ['docker-preloader.service', 'run'],
      ['docker-preloader-containerd.service', 'apply --only containerd --degraded-ok'],
    ] as const) {
      const text = readFileSync(path.join(outside(file), 'lib/systemd/system', unit), 'utf8');
      assert.ok(text.includes(`\nExecStart=${file}/bin/docker-preloader ${start}\n`), text);
      assert.doesNotMatch(text, /[= ]\/usr\/(?:bin|share)/);
    }
  });

  it('the disk has the same bytes each time, and those that build makes outside', async () => {
    const file = await built('disk');
    // Nix compares what it has with what it gets now.
    assert.equal(await built('disk', '--check'), file);
    const label = (await place.nix.evaluate(preloader('label'))) as string;
    const here = path.join((await tempTree('dpl-outside')).path, 'here.qcow2');
    const { exitCode, all } = await agent([
      'build',
      ...['one', 'two'].map((name) => place.archive(name)),
      '--label',
      label,
      '--quiet',
      '--output',
      here,
    ]);
    assert.equal(exitCode, 0, all);
    assert.ok(readFileSync(here).equals(readFileSync(outside(file))));
  });

  it('the flake needs no other, and has the module and the package for whoever has nixpkgs', async () => {
    const flake = `path:${path.dirname(release)}?dir=usr/share/docker-preloader/nixos`;
    const { locks, description } = JSON.parse(await place.nix.run('nix', ['flake', 'metadata', '--json', flake])) as {
      locks: { nodes: object };
      description: string;
    };
    assert.deepEqual(Object.keys(locks.nodes), ['root']);
    assert.match(description, /^Docker images/);
    // What is taken of it is the same, so that it is built once.
    const program = preloader('package.drvPath', `(builtins.getFlake "${flake}").nixosModules.default`);
    assert.equal(
      await place.nix.run('nix', ['eval', '--impure', '--raw', '--expr', program]),
      await place.nix.evaluate(preloader('package.drvPath')),
    );
    const overlay = `(builtins.getFlake "${flake}").overlays.default`;
    assert.equal(
      await place.nix.run('nix', [
        'eval',
        '--impure',
        '--raw',
        '--expr',
        place.expression([], `(${overlay} pkgs pkgs).docker-preloader.drvPath`),
      ]),
      await place.nix.evaluate(preloader('package.drvPath')),
    );
  });
});
