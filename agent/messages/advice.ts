import type { EventName } from './events.ts';

/**
 * For each event why it comes about, and what to do: the journal's catalog is made of these and of what the event means.
 * `@FIELD@` is filled in by journalctl; only fields that each entry of the event has may be named. Not loaded by the agent.
 */
export const advice: Readonly<Record<EventName, string>> = {
  CONFIG_INVALID:
    'The message names the key. Correct it in /etc/docker-preloader/config.json (unknown keys are refused, too; man docker-preloader-config lists them), then: `systemctl restart docker-preloader docker`',
  DOCKER_CONFIG_INVALID:
    'dockerd would not start with that file either. Correct /etc/docker/daemon.json; `dockerd --validate` checks it. Then: `systemctl restart docker`',
  DATA_ROOT_DIFFERS:
    "The images were put where this docker.service does not look for them: it has options of its own on its command line, which the agent compares after READY. Set `dataRoot` in /etc/docker-preloader/config.json to what docker.service uses, or move dockerd's options into its daemon.json. `systemctl cat docker` shows the command line.",
  STORE_UNSUPPORTED:
    "Only dockerd's own overlay2 store can be filled. Nothing of it was changed and Docker starts as usual, without the images of the disks. The message says which setting or which folder decides.",
  STORE_INVALID:
    'Mend or remove the file that the message names. Where it is repositories.json, dockerd would not start on it either, for instance after a power cut that left it empty: without it the images are there and have lost their names.',
  STORE_WRITE:
    'Mostly the disk of the data root is full or read-only: `df /var/lib/docker` tells. What was there before is still there; the rest is tried again when Docker next starts.',
  STORE_FULL:
    'Layers take no room in the data root, but their records do, mostly for what `docker save` needs; and Docker is left a part of it to start. `df /var/lib/docker` tells what is free, `docker system df` what takes it. Free some, or enlarge the filesystem, then: `systemctl restart docker`',
  LEDGER_NEWER:
    "A newer docker-preloader has filled this store and noted it in a form that this one does not know. Install the newer one again, or take its images out with the newer one's `docker-preloader unlink` first.",
  LEDGER_INVALID:
    "The ledger (docker-preloader/ledger.json in the data root) was damaged. Nothing is lost of what is the user's. Tags and images of disks that are not attached now cannot be told from the user's and stay until they are removed by hand.",
  LOCKED:
    'Another docker-preloader has worked on this store for longer than it ever should. `ps -C docker-preloader` finds it, `lsof` or /proc/PID/stack what it waits for: often a disk that does not answer.',
  DOCKER_RUNNING:
    'The store is never changed under a running dockerd. To have the images now: `systemctl restart docker`. `docker-preloader plan` lists what will change.',
  MOUNT_NAMESPACE:
    'The unit runs with mounts of its own, so dockerd would find empty folders where the layers are. Some drop-in sets ProtectSystem=, PrivateTmp=, PrivateMounts=, ReadWritePaths= or the like: `systemctl cat docker-preloader` shows it. Remove that, then: `systemctl daemon-reload && systemctl restart docker-preloader docker`',
  DISK_MISSING:
    'The label is written out in `labels`, so it was waited for, and no device with it has come. Attach the disk, or take the label out of `labels`. `lsblk -o NAME,LABEL,SIZE` shows what is there. A disk that comes later is taken when Docker next starts.',
  REQUIRED_MISSING:
    'It is listed in `required`, and no usable disk with that label has come in time. Another message tells if it was there and refused. Attach it, then: `systemctl restart docker`. `lsblk -o NAME,LABEL,SIZE` shows what is there.',
  DISK_CONTENT:
    'The disk has the right label, but it is another build than the one pinned in `required`, or a file on it is not what its manifest says: then it was damaged, or tampered with. It was left out as if it were not attached. Attach the right one, or put the digest that the message shows into `required`. `docker-preloader inspect --deep DEVICE` shows what it holds.',
  LABEL_INVALID:
    'The label becomes the name of a folder, so letters, digits, dots, dashes and underscores are all that it may hold. Make the disk anew with `docker-preloader build --label`, or give it another label: `e2label DEVICE NEW`, where it was made.',
  LABEL_DUPLICATE:
    'Which of them was meant cannot be known, so none is used, but one that was mounted before the other came, or that has the digest which `required` pins. Detach one, or give it another label. Two disks with the same manifest are no problem: they count as one.',
  DISK_TWICE:
    'Their manifests are the same, so they count as one: nothing is missing. One disk is attached twice, or over two paths. Detach @PRELOADER_DEVICE@ unless it is there on purpose.',
  DISK_REMOVABLE:
    'Whoever plugs in a USB stick should not choose what Docker runs, so a removable device counts only where its label is written out. If it is meant, add it to `labels` in /etc/docker-preloader/config.json, beside the globs, then: `systemctl restart docker`',
  DEVICE_UNREADABLE:
    'A disk is missed, and it may be on this device: its first blocks could not be read. `dmesg` and `smartctl` may tell why.',
  DISK_DIRTY:
    'It was copied or detached while it was still mounted writable somewhere. Its journal cannot be replayed on a read-only disk, and without that a part of its files is missing. Where the disk was made: `e2fsck -f DISK`, or build it anew. Disks of `docker-preloader build` have no journal.',
  DISK_TRUNCATED:
    'A copy of it was cut off, or the wrong size was given to the virtual machine. Copy the disk again and compare the sizes.',
  MOUNT_FAILED:
    'The kernel refused it: `dmesg` tells more. Often the kernel has no support for that filesystem (erofs before Linux 5.4), or the disk is damaged; `docker-preloader inspect DEVICE` checks it without mounting.',
  MOUNT_BUSY:
    'Another filesystem is in the place where this disk belongs. `findmnt` shows what it is. If it is the disk of before, which was replaced while Docker was running: `systemctl restart docker`. Otherwise unmount it.',
  DISK_LOST:
    'Its device is gone while containers may run from it: what they read of it now fails. Attach the disk again, then: `systemctl restart docker`',
  DISK_LAYOUT:
    'The disk needs the folders image/overlay2 and overlay2, as dockerd or `docker-preloader build` writes them. A disk that was filled by a Docker with the containerd image store has none. Build it again with `docker-preloader build`.',
  FORMAT_NEWER:
    'The disk was made by a newer docker-preloader, in a form that this one would misread. Install a newer package in this guest, or build the disk with the older one.',
  MANIFEST_INVALID:
    'The file is damaged, or it was edited. `docker-preloader inspect DEVICE` shows what is wrong. Build the disk again.',
  IMAGE_INVALID:
    "The disk's other images are used. `docker-preloader inspect --deep DEVICE` checks all of it. Build the disk again.",
  IMAGE_INCOMPLETE:
    'It was built on a base disk (`build --base`) that is not attached, or the disk is damaged. The message names the base disk where it is known. Attach it, then: `systemctl restart docker`',
  LAYER_INVALID:
    'Images that need the layer are left out. `docker-preloader inspect --deep DEVICE` checks the disk. Build it again.',
  REFERENCE_INVALID: 'The name is left out; the image may still be there without it. Build the disk again.',
  TAG_CONFLICT:
    "A tag can name one image. Between the user's and a disk's the setting `conflicts` decides, between two disks their order in `labels`, then `build --priority`, then the label. `docker tag` gives the other image another name.",
  TAG_REMOVED:
    'It was removed with `docker rmi`, and `removedImages` is set to `respect`. To have it again: set `removedImages` to `restore`, then: `systemctl restart docker`',
  REMOVED:
    'By `docker rmi`, `docker image prune` or `docker-preloader unlink`. The disk still has them: `systemctl restart docker` brings them back. Where a removal is to last, set `removedImages` to `respect`, or detach the disk. `docker-preloader status` shows which are there now.',
  KEPT: 'An image or a container was made from them, so they are not taken away although their disk is. They cannot be used until the disk is attached again and Docker restarted. To let them go: remove what stands on them, as the message lists it.',
  BUILD_CACHE:
    'Only the cache of `docker build` needs them; no image and no container does. A build that wants them fails with `layer does not exist` while the disk is away. Attach the disk again, or empty the cache: `docker builder prune -a`',
  RESULT_WRONG:
    'Something else has changed the store in the meantime, or its disk does not keep what is written to it. `docker-preloader plan` shows what is missing; `systemctl restart docker` tries again.',
  ARCHIVE_INVALID:
    "Only `docker-preloader build` reports this. Save the image again, with `docker save` for instance, and compare the archive's size with the original.",
  BUILD_FAILED:
    'Only `docker-preloader build` reports this. The message says what was asked for and what stood in the way; a disk that was there before is still there.',
  TOOL_MISSING:
    'Only `docker-preloader build` and `inspect` need other programs. Install the package that the message names.',
  DISK_INVALID:
    'Only `docker-preloader inspect` and `build --base` report this. The file is something else, or damaged: build the disk again.',
  CONTENT_WRONG:
    "Only `docker-preloader verify` reports this. The disk or the store does not keep what was written to it. Copy the disk again, or build it anew; a layer of the user's own: remove the images that stand on it, then pull or load them again.",
  STORE_DIFFERS:
    'Only `docker-preloader verify` reports this. The disks have changed since the store was filled, or the user has. `systemctl restart docker` fills it again.',
  STORE_DAMAGED:
    'Only `docker-preloader verify` reports this. Images may not run until it is mended: the message says how, mostly by `systemctl restart docker`.',
  NO_SYSTEMD:
    'Only `docker-preloader boot-order` reports this. Without systemd nothing starts Docker in an order: run `docker-preloader apply` before dockerd.',
  DOCUMENT_INVALID:
    'Only `docker-preloader boot-order FILE` reports this. Let the other machine write the file again: `docker-preloader boot-order --json > FILE`',
  RECORD_FAILED:
    'Only `docker-preloader record` reports this. `docker-preloader status` tells of the disks. The machine on which it is recorded needs Linux 6.5 or later; those that boot from the disk do not.',
  OUTPUT_FAILED:
    'Only `docker-preloader boot-order --svg` reports this. Name a file in a folder that is there and has room.',
  INTERNAL:
    'This should not happen. Docker starts all the same. Please report it, with the output of: `docker-preloader status --json; journalctl -b -o json -u docker-preloader`',
  DISK_FOUND:
    'The device @PRELOADER_DEVICE@ carries the label @PRELOADER_LABEL@, which the configuration takes. The next entries tell whether it could be used.',
  DISK_MOUNTED:
    'It is mounted ro,nodev,nosuid,noexec and stays mounted when the agent stops: containers run from it. `docker-preloader status` shows its images.',
  DISK_ADOPTED: 'The agent was restarted, or Docker was. A mount is taken over only if it is of the same device.',
  DISK_GONE:
    "Its images go when Docker next starts, except those that something of the user's stands on. Another entry tells if it was still mounted (lost).",
  LAYERS_ADOPTED:
    'They were pulled or loaded before, or another disk has them, too. Each layer is in the store once: nothing was linked to this disk for them.',
  READY:
    'Docker starts with the images of all disks, but for changes of which an entry before this one says that they wait. `docker-preloader status` lists them.',
  EMPTY:
    'No attached device has a label that the configuration takes (`labels`, by default dpl-*). Docker starts without preloaded images. `lsblk -o NAME,LABEL,SIZE` shows the labels that are there.',
  DEGRADED:
    'Docker starts, but without a part of what the disks hold. The entries before this one say what was left out, and why; `docker-preloader status` repeats them.',
  FAILED:
    'Docker starts without preloaded images, or, with the strict drop-in, not at all. The message and the entries before it say why. Once that is mended: `systemctl restart docker`',
  PENDING:
    'The disks have changed since the store was filled, and that is only done when Docker starts. To have it now: `systemctl restart docker`. `docker-preloader plan` lists the changes.',
  STATUS_NOT_WRITTEN: 'Mostly /run is full: `df /run` tells. The images are not affected, and the socket answers.',
  NOT_SYNCED:
    'The images are not affected. Until it succeeds, each start compares contents and not only sizes, which takes longer.',
  NOT_COMPARED:
    'The images are not affected. systemctl did not answer, so it is not known whether docker.service uses the data root that was filled.',
  NOT_FOLLOWED:
    'Mostly too much is watched on this machine: `sysctl fs.inotify` shows the limits. The images are not affected, nor is the status: the agent looks for changes twice a second until it can watch.',
  READ_AHEAD:
    'Containers find it in memory, from where it gives way to whatever is more needed. How much may be read, or that nothing is, says `readAheadMb` in the configuration.',
  RESTORED:
    'Pins keep the layers of what was preloaded, so a prune frees nothing of it, and dockerd has loaded the images again. To let a prune take them: set `prunedImages` to `respect`. What `docker rmi` removes stays away until Docker next starts.',
  NOT_RESTORED:
    'Names with a digest only a pull can give while Docker runs. Of others the message says why. When Docker next starts all of it is there again, but for what it says is removed: `systemctl restart docker`',
  PRUNES_NOT_FOLLOWED:
    'Only unix sockets are followed, and only that of the dockerd that works on the store. Set `dockerHost` to `unix:///path` in /etc/docker-preloader/config.json, and `hosts` in daemon.json to the same.',
  NOT_READ_AHEAD: 'Record it anew, `docker-preloader record > list`, and build the disk with `--read-ahead list`.',
};
