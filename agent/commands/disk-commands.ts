import { Option } from 'commander';
import type { AttachArguments } from './attach.ts';
import type { BuildArguments } from './build-options.ts';
import { DISK_FORMATS } from '../builder/disk-options.ts';
import type { InspectOptions } from './inspect.ts';
import type { AddCommands } from './command-line.ts';
import type { ExportArguments } from './export.ts';
import type { PullArguments } from './pull.ts';

/** What is done with a disk, without a guest. */
export const addDiskCommands: AddCommands = (make, finish) => {
  const build = make(
    'build [archive...]',
    'Makes a preload disk from image archives, without a daemon or root, or from registries, Docker and podman: docker://HOST/NAME:TAG, docker-daemon:NAME:TAG, containers-storage:NAME:TAG. Behind any of them, =NAME:TAG names the image.',
    '  docker-preloader build docker://registry.example/app:1 docker://registry.example/db:2=db:2 -o images.qcow2\n' +
      '  docker-preloader build --file images.list --lock images.lock -o images.qcow2\n' +
      '  docker save app:1 db:2 | docker-preloader build - -o images.qcow2\n' +
      '  docker-preloader build app.tar layout=db:2 -o images.raw --label dpl-images\n' +
      '  docker-preloader build app.tar -o - | ssh HOST dd of=/dev/vdb bs=1M\n' +
      '  docker-preloader build app.tar --compress --push docker://registry.example/disks/app:1',
  )
    .option(
      '-o, --output <disk>',
      'the disk, or - for standard output (raw); an existing file is replaced when the disk is complete',
    )
    .addOption(
      new Option(
        '--format <format>',
        'by default by the name: raw for .raw, .img and -, vmdk, vdi and vhdx for these, otherwise qcow2; containerdisk is an OCI archive with /disk/LABEL.qcow2, for KubeVirt and registries',
      ).choices(DISK_FORMATS),
    )
    .addOption(new Option('--filesystem <filesystem>', 'on the disk').choices(['ext4', 'erofs']).default('ext4'))
    .addOption(
      new Option(
        '--blobs <which>',
        "layers as containerd's store has them, too: compressed ones as they are (by default; on erofs also tars, which share the files' data), all as tars, or none",
      ).choices(['keep', 'tar', 'none']),
    )
    .addOption(
      new Option(
        '--engine <engine>',
        'what unpacks the archives; docker is a private dockerd, which needs root; docker-vm is the same in a virtual machine, without root',
      )
        .choices(['built-in', 'docker', 'docker-vm'])
        .default('built-in'),
    )
    .option('--vm <dir>', "for docker-vm: a folder with the guest's kernel, initrd and root.ext4")
    .option('--size <bytes>', "the filesystem's size, also with K, M, G (default: as needed)")
    .option('--compress', 'compress the qcow2 with qemu-img')
    .option(
      '--push <name>',
      'push it to a registry, as docker://REGISTRY/NAME:TAG, with skopeo; -o may then be left out',
    )
    .option('--authfile <file>', "credentials for registries, a file of skopeo login (default: skopeo's own)")
    .option('--insecure', 'take registries without TLS, and certificates that nobody vouches for')
    .option('--label <label>', "the filesystem's label (default: dpl- and 11 hex digits of the content's digest)")
    .option('--priority <number>', 'if two disks have the same tag, the one with the higher priority gets it', '0')
    .option('--tag <name:tag>', 'a name for the image that has none in its archive')
    .option('--file <list>', 'a file with more archives and sources, one a line; # begins a comment')
    .option(
      '--lock <file>',
      'what the sources are held to; without such a file, the digests of what was taken are written into it',
    )
    .option(
      '--platform <os/arch>',
      'take what is for this platform, and nothing else (default: of several in a layout or an index, what suits this machine best)',
    )
    .option('--base <disk>', 'leave out the layers that this disk has; repeatable', repeated)
    .option(
      '--read-ahead <list>',
      'a list that record printed; the files in it that are on this disk are read into memory right after boot',
    )
    .option(
      '--sign <key>',
      'sign the disk: a file of an Ed25519 key, as ssh-keygen makes it, or its .pub file if the ssh-agent has the key',
    )
    .option('--dry-run', 'read everything and print what would be on the disk and its size, but write no disk')
    .option('--json', 'print what was made as JSON, for programs')
    .option('--quiet', 'no progress')
    .action(async (archives: string[], options: BuildArguments) =>
      finish(
        await (await import('./build.ts')).build(archives, options, (message) => build.error(`error: ${message}`)),
      ),
    );
  const pull = make(
    'pull <name>',
    'Brings a disk from a registry, byte for byte, that build --push has put there. All digests are verified.',
    '  docker-preloader pull docker://registry.example/disks/app:1 -o images.qcow2',
  )
    .option('-o, --output <disk>', 'the disk, or - for standard output; an existing file is replaced')
    .option('--authfile <file>', "credentials for registries, a file of skopeo login (default: skopeo's own)")
    .option('--insecure', 'take registries without TLS, and certificates that nobody vouches for')
    .option('--json', 'print what was brought as JSON, for programs')
    .option('--quiet', 'no progress')
    .action(async (name: string, options: PullArguments) =>
      finish(await (await import('./pull.ts')).pull(name, options, (message) => pull.error(`error: ${message}`))),
    );
  const exporting = make(
    'export <disk> <image>',
    'Gives an image of a disk back as an OCI archive, which docker load takes, too, with the digests that went in. IMAGE is a name, an ID, or NAME@sha256:DIGEST.',
    '  docker-preloader export images.qcow2 app:1 -o app.tar\n' +
      '  docker-preloader export images.qcow2 app:1 -o - | docker load',
  )
    .option('-o, --output <archive>', 'the archive, or - for standard output; an existing file is replaced')
    .option('--base <disk>', 'a disk with layers that this one leaves out; repeatable', repeated)
    .option('--json', 'print what was given back as JSON, for programs')
    .option('--quiet', 'no progress')
    .action(async (disk: string, image: string, options: ExportArguments) =>
      finish(
        await (
          await import('./export.ts')
        ).exportFromDisk(disk, image, options, (message) => exporting.error(`error: ${message}`)),
      ),
    );
  const inspect = make(
    'inspect <disk>',
    'Shows what is on a preload disk: a qcow2, raw image, block device or mounted folder; nothing is mounted.',
    '  docker-preloader inspect images.qcow2\n  docker-preloader inspect images.qcow2 --json | jq -r ".images[].references[]"\n' +
      '  docker-preloader inspect images.qcow2 --trusted-key ~/.ssh/id_ed25519.pub',
  )
    .option('--json', 'as JSON, for programs')
    .option('--deep', 'also compare every layer and blob with its digest')
    .option(
      '--trusted-key <file>',
      'a .pub file: the disk must be signed by this key, and its metadata be as it was signed; repeatable: by any of them',
      repeated,
    )
    .action(async (disk: string, options: InspectOptions) =>
      finish(
        await (await import('./inspect.ts')).inspect(disk, options, (message) => inspect.error(`error: ${message}`)),
      ),
    );
  make(
    'diff <disk> <disk>',
    'Shows which images, tags and layers differ between two disks. The exit status is that of diff(1).',
    '  docker-preloader diff old.qcow2 new.qcow2\n  docker-preloader diff old.qcow2 new.qcow2 --json | jq .bytes',
    '0 the same, 1 different, 2 trouble',
  )
    .option('--json', 'as JSON, for programs')
    .action(async (a: string, b: string, options: { json?: boolean }) =>
      finish(await (await import('./diff.ts')).diff(a, b, options)),
    );
  const attach = make(
    'attach <disk...>',
    'Prints what to type or paste so that a virtual machine has preload disks: read-only, with their labels as serial numbers.',
    '  docker-preloader attach --for libvirt --required images.qcow2\n' +
      '  eval "qemu-system-x86_64 -m 2G root.qcow2 $(docker-preloader attach --for qemu a.qcow2 b.qcow2)"\n' +
      '  docker-preloader attach --for proxmox --first 2 /srv/images.qcow2 | VMID=100 sh',
  )
    .addOption(
      new Option('--for <hypervisor>', 'what runs the machine')
        .choices(['qemu', 'libvirt', 'proxmox', 'cloud-hypervisor', 'firecracker', 'kubevirt', 'vagrant'])
        .makeOptionMandatory(),
    )
    .option('--required', 'also tell the guest that it requires these disks, by a credential or its command line')
    .option('--digest', 'the same, and that they have the digests that they have now')
    .option('--first <number>', 'the first place that is free: 1 is vdb (libvirt) or virtio1 (proxmox); by default 1')
    .option('--json', 'as JSON, for programs')
    .action(async (disks: string[], options: AttachArguments) =>
      finish(
        await (await import('./attach.ts')).attach(disks, options, (message) => attach.error(`error: ${message}`)),
      ),
    );
};

/** An option that may be given several times. Without a default, since help would show an empty list as one. */
function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
