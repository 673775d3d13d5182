import { built } from '../build-program.ts';

/** Files of the repository that go into the package. */
export interface PackagedFile {
  /** A path or glob relative to the repository. */
  readonly from: string;
  /** Where it is installed, without the leading slash. With a slash at the end, it is a folder. */
  readonly to: string;
  readonly mode?: number;
}

/**
 * The files in the .deb and the tarball, besides those of documents.ts and documentation.ts and
 * `usr/share/doc/docker-preloader/copyright`.
 * @param dist where the executables are, relative to the repository
 */
export function packagedFiles(dist: string): readonly PackagedFile[] {
  return [
    { from: `${dist}/${built.small}`, to: 'usr/bin/', mode: 0o755 },
    { from: `${dist}/${built.whole}`, to: 'usr/lib/docker-preloader/', mode: 0o755 },
    ...alike,
  ];
}

/** What is the same for each architecture. */
const alike: readonly PackagedFile[] = [
  { from: 'units/docker-preloader.service', to: 'usr/lib/systemd/system/' },
  { from: 'units/docker-preloader.socket', to: 'usr/lib/systemd/system/' },
  { from: 'units/docker-preloader-containerd.service', to: 'usr/lib/systemd/system/' },
  { from: 'units/docker-preloader-before-containerd.target', to: 'usr/lib/systemd/system/' },
  { from: 'units/docker.service.d/50-docker-preloader.conf', to: 'usr/lib/systemd/system/docker.service.d/' },
  // Not active where it is installed. It has to be copied to
  // /etc/systemd/system/docker.service.d/50-docker-preloader.conf, where it replaces the lenient one.
  {
    from: 'units/docker.service.d/50-docker-preloader-strict.conf',
    to: 'usr/share/docker-preloader/docker.service.d-strict.conf',
  },
  { from: 'agent/packaging/deb/debian/lintian-overrides', to: 'usr/share/lintian/overrides/docker-preloader' },
  { from: 'units/docker-preloader.catalog', to: 'usr/lib/systemd/catalog/' },
  // For NixOS, which takes the rest of the package from where it finds these.
  { from: 'units/nixos/flake.nix', to: 'usr/share/docker-preloader/nixos/' },
  { from: 'units/nixos/module.nix', to: 'usr/share/docker-preloader/nixos/' },
  { from: 'units/nixos/package.nix', to: 'usr/share/docker-preloader/nixos/' },
  { from: 'agent/status/schemas/status.schema.json', to: 'usr/share/docker-preloader/schemas/' },
  { from: 'agent/status/schemas/plan.schema.json', to: 'usr/share/docker-preloader/schemas/' },
];
