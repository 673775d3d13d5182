import type { EventName } from './events.ts';

/**
 * Why each event occurs and what to do about it. The journal's catalog consists of these texts and the events'
 * meanings. journalctl fills in `@FIELD@`; only fields that every entry of the event has may be used. The agent does
 * not load this file.
 */
export const advice: Readonly<Record<EventName, string>> = {
  CONFIG_INVALID:
    'The message names the key. Correct it in /etc/docker-preloader/config.json (unknown keys are refused as well; man docker-preloader-config lists the known ones), then: `systemctl restart docker-preloader docker`',
  DOCKER_CONFIG_INVALID:
    'dockerd would not start with that file either. Correct /etc/docker/daemon.json; `dockerd --validate` checks it. Then: `systemctl restart docker`',
  DATA_ROOT_DIFFERS:
    "This docker.service does not look for images where they were put, because it has options of its own on its command line. The agent compares these after READY. Set `dataRoot` in /etc/docker-preloader/config.json to what docker.service uses, or move dockerd's options into its daemon.json. `systemctl cat docker` shows the command line.",
  CONTAINERD_NOT_AWAITED:
    'The images are there soon after containerd, but kubelet and others may look for them earlier, and pull what they do not find. `systemctl enable docker-preloader-containerd` orders all of them from the next boot on; for K3s and RKE2 the message has another command. Docker needs nothing of this: its drop-in fills its namespace before each start.',
  STORE_UNSUPPORTED:
    "Only dockerd's own overlay2 store and containerd's, with its snapshotter overlayfs, can be filled. Nothing was changed there, and Docker and Kubernetes start as usual, without the images of the disks. The message names the setting or folder that decides this.",
  STORE_INVALID:
    'Repair or remove the file that the message names. If it is repositories.json, dockerd would not start with it either; a power cut may have left it empty. Without it, the images are still there but have lost their names.',
  STORE_WRITE:
    'Usually the disk of the data root is full or read-only; check with `df /var/lib/docker`. What was in the store before is still there. The rest is tried again when Docker next starts.',
  STORE_FULL:
    "Layers take no room in the data root, but their records do, mostly for what `docker save` needs, and some room is kept for Docker to start. `df /var/lib/docker` shows what is free, `docker system df` what uses it. Free some room or enlarge the filesystem, then: `systemctl restart docker`. For containerd's store the message names the folder, and `docker-preloader apply --only containerd` is enough.",
  LEDGER_NEWER:
    'A newer docker-preloader has filled this store and written its ledger in a format that this one does not know. Install the newer one again, or use its `docker-preloader unlink` to remove its images first.',
  LEDGER_INVALID:
    "The ledger (docker-preloader/ledger.json in the data root) was damaged. Nothing of the user's is lost. Tags and images of disks that are not attached now cannot be told apart from the user's. They stay until they are removed by hand.",
  LOCKED:
    'Another docker-preloader has been working on this store for longer than it ever should. `ps -C docker-preloader` finds it. `lsof` or /proc/PID/stack shows what it waits for, often a disk that does not answer. If the message names the process of a containerd, that one runs on the store, and its socket is not where it is looked for: set `containerdAddress`.',
  DOCKER_RUNNING:
    'The store is never changed under a running dockerd. To have the images now: `systemctl restart docker`. `docker-preloader plan` lists what will change.',
  MOUNT_NAMESPACE:
    'The unit runs in a mount namespace of its own, so dockerd would find empty folders where the layers should be. A drop-in sets ProtectSystem=, PrivateTmp=, PrivateMounts=, ReadWritePaths= or the like: `systemctl cat docker-preloader` shows it. Remove that setting, then: `systemctl daemon-reload && systemctl restart docker-preloader docker`',
  DISK_MISSING:
    '`labels` names this label in full, so the agent waited for it, but no device with it appeared. Attach the disk, or remove the label from `labels`. `lsblk -o NAME,LABEL,SIZE` shows what is attached. A disk that appears later is used when Docker next starts.',
  REQUIRED_MISSING:
    'The disk is listed in `required`, but no usable disk with that label appeared in time. If it was there and was refused, another message says so. Attach it, then: `systemctl restart docker`. `lsblk -o NAME,LABEL,SIZE` shows what is attached.',
  DISK_CONTENT:
    'The disk has the right label, but it is not the build that is pinned in `required`, or a file on it differs from its manifest, which is pinned or signed: then it was damaged or tampered with. It was left out as if it were not attached. Attach the right one, or put the digest from the message into `required`. `docker-preloader inspect --deep DEVICE` shows what is on it.',
  DISK_UNSIGNED:
    'This guest takes only disks that one of its `trustedKeys` has signed, and nobody has signed this one. It was left out as if it were not attached. Build it again with `docker-preloader build --sign KEY`. A disk that dockerd has filled cannot be signed.',
  SIGNATURE_INVALID:
    'The file docker-preloader.json.sig of the disk is damaged, belongs to another disk, was made by something else than `docker-preloader build --sign`, or the manifest was changed after it was signed. The disk was left out as if it were not attached. `docker-preloader inspect DISK` says the same on the build machine. Build the disk again.',
  SIGNATURE_UNTRUSTED:
    'The signature is right, but this guest does not know the key. The message has its fingerprint, which `ssh-keygen -l -f KEY.pub` prints for a key. If it is one of yours, add the line of its .pub file to `trustedKeys` in /etc/docker-preloader/config.json, then: `systemctl restart docker`',
  LABEL_INVALID:
    'The label becomes the name of a folder, so it may contain only letters, digits, dots, dashes and underscores. Build the disk again with `docker-preloader build --label`, or change its label where it was made: `e2label DEVICE NEW`',
  LABEL_DUPLICATE:
    'There is no way to know which one was meant, so none is used, except one that was mounted before the other appeared, or that has the digest pinned in `required`, or that a trusted key has signed. Detach one, or give it another label. Two disks with the same manifest are no problem: they count as one.',
  DISK_TWICE:
    'Their manifests are the same, so they count as one and nothing is missing. One disk is attached twice, or over two paths. Detach @PRELOADER_DEVICE@ unless it is attached on purpose.',
  DISK_REMOVABLE:
    'Whoever plugs in a USB stick should not decide what Docker runs, so a removable device is used only if `labels` names its label in full. If you want it, add its label to `labels` in /etc/docker-preloader/config.json, beside the globs, then: `systemctl restart docker`',
  DEVICE_UNREADABLE:
    'A disk is missing, and it may be this device, whose first blocks could not be read. `dmesg` and `smartctl` may show why.',
  DISK_DIRTY:
    'The disk was copied or detached while it was still mounted writable somewhere. Its journal cannot be replayed on a read-only disk, and without that some of its files are missing. Run `e2fsck -f DISK` where the disk was made, or build it again. Disks of `docker-preloader build` have no journal.',
  DISK_TRUNCATED:
    'A copy of the disk was cut off, or the virtual machine was given the wrong size. Copy the disk again and compare the sizes.',
  MOUNT_FAILED:
    'The kernel refused it; `dmesg` shows more. Often the kernel does not support the filesystem (erofs before Linux 5.4), or the disk is damaged. `docker-preloader inspect DEVICE` checks it without mounting.',
  MOUNT_BUSY:
    'Another filesystem is mounted where this disk belongs. `findmnt` shows what it is. If it is the previous disk, which was replaced while Docker was running: `systemctl restart docker`. Otherwise unmount it.',
  SOURCE_INVALID:
    "What `sources` names has to be a folder itself, with what a disk has in it: `image/` and `overlay2/`. It may not be in Docker's data root, nor where disks are mounted. A symlink is not followed: name the folder that it leads to.",
  SOURCE_WRITABLE:
    'Layers have files that anybody may write, and programs with the rights of root. So the folder has to be on a filesystem that is mounted read-only, or root has to own it and all folders above it, and nobody else may enter it: `chmod 700 FOLDER`',
  SOURCE_LOSSY:
    'Containers would see files that the image does not have, or with other owners or rights. Copy the files of the disk with `cp -a` as root. 9p needs `security_model=passthrough`, and does not pass on what layers with replaced folders need; virtiofsd needs `--xattr` and `--modcaps=+sys_admin`. Otherwise attach the disk itself.',
  SOURCE_UNSUPPORTED:
    'The kernel decides which filesystems it can mount, and on which an overlay can stand: not on an overlay that stands on one itself. `dmesg` shows more. Copy the folder to another filesystem, or attach the disk itself.',
  DISK_LOST:
    'Its device is gone, but containers may still run from it. Whatever they read from it now fails. Attach the disk again, then: `systemctl restart docker`',
  DISK_LAYOUT:
    'The disk needs the folders image/overlay2 and overlay2, as dockerd or `docker-preloader build` writes them. A disk that was filled by a Docker with the containerd image store does not have them. Build it again with `docker-preloader build`.',
  FORMAT_NEWER:
    'The disk was made by a newer docker-preloader, in a format that this one would misread. Install a newer package in this guest, or build the disk with the older one.',
  MANIFEST_INVALID:
    'The file is damaged or was edited. `docker-preloader inspect DEVICE` shows what is wrong. Build the disk again.',
  IMAGE_INVALID:
    "The disk's other images are used. `docker-preloader inspect --deep DEVICE` checks the whole disk. Build the disk again.",
  IMAGE_INCOMPLETE:
    'It was built on a base disk (`build --base`) that is not attached, or the disk is damaged. The message names the base disk if it is known. Attach it, then: `systemctl restart docker`',
  LAYER_INVALID:
    'Images that need the layer are left out. `docker-preloader inspect --deep DEVICE` checks the disk. Build it again.',
  REFERENCE_INVALID: 'The name is left out, but the image may still be there without it. Build the disk again.',
  TAG_CONFLICT:
    'A tag can name only one image. Between the user and a disk, the setting `conflicts` decides. Between two disks, their order in `labels` decides, then `build --priority`, then the label. `docker tag` gives the other image another name.',
  TAG_REMOVED:
    'It was removed with `docker rmi`, and `removedImages` is set to `respect`. To have it back, set `removedImages` to `restore`, then: `systemctl restart docker`',
  REMOVED:
    'They were removed by `docker rmi`, `docker image prune` or `docker-preloader unlink`. The disk still has them, and `systemctl restart docker` brings them back, in containerd also `docker-preloader apply`. To make a removal last, set `removedImages` to `respect`, or detach the disk. `docker-preloader status` shows which images are there now.',
  KEPT: 'An image or a container was made from them, so they stay although their disk is gone. They cannot be used until the disk is attached again and Docker is restarted. To get rid of them, remove the images and containers that the message lists.',
  BUILD_CACHE:
    'Only the cache of `docker build` needs them, no image or container. A build that uses them fails with `layer does not exist` while the disk is away. Attach the disk again, or empty the cache: `docker builder prune -a`. Where that does not help, dockerd was killed during a build and has forgotten a folder of its cache; what stays of ours are links, which take no space.',
  LAYERS_UNLINKED:
    "Where Docker has its images in containerd's store, it takes the layers of an image for `docker save`, `push` and builds from there as a registry has them. This disk has none of them, or this containerd does not share content between namespaces (`content_sharing_policy` in its configuration). Images run all the same. A pull does not help, since Docker fetches no layer that is unpacked already. Attach a disk that has them: made from what a registry gave, on erofs, or with `--blobs tar`.",
  RESULT_WRONG:
    'Something else has changed the store meanwhile, or its disk does not keep what is written to it. `docker-preloader plan` shows what is missing; `systemctl restart docker` tries again.',
  ARCHIVE_INVALID:
    "Only `docker-preloader build` reports this. Save the image again, with `docker save` for instance, and compare the archive's size with the original.",
  BUILD_FAILED:
    'Only `docker-preloader build` reports this. The message says what was asked for and what prevented it. A disk that existed before is still there.',
  TOOL_MISSING:
    'Only `docker-preloader build` and `inspect` need other programs to be installed, and a store of containerd that is filled before its own containerd runs needs containerd. Install what the message names.',
  DISK_INVALID:
    'Only `docker-preloader inspect` and `build --base` report this. The file is something else, or it is damaged. Build the disk again.',
  CONTENT_WRONG:
    "Only `docker-preloader verify` reports this. The disk or the store does not keep what was written to it. Copy the disk again, or build it again. If it is a layer of the user's own, remove the images that use it, then pull or load them again.",
  STORE_DIFFERS:
    'Only `docker-preloader verify` reports this. The disks have changed since the store was filled, or the user has changed the store. `systemctl restart docker` fills it again.',
  STORE_DAMAGED:
    'Only `docker-preloader verify` reports this. Images may not run until it is repaired. The message says how, usually with `systemctl restart docker`.',
  NO_SYSTEMD:
    'Only `docker-preloader boot-order` reports this. Without systemd, nothing orders the start of Docker. Run `docker-preloader apply` before dockerd.',
  DOCUMENT_INVALID:
    'Only `docker-preloader boot-order FILE` reports this. Write the file again on the other machine: `docker-preloader boot-order --json > FILE`',
  RECORD_FAILED:
    'Only `docker-preloader record` reports this. `docker-preloader status` shows the disks. The recording machine needs Linux 6.5 or later; the machines that use the disk do not.',
  OUTPUT_FAILED:
    'Only `docker-preloader boot-order --svg` reports this. Name a file in a folder that exists and has room.',
  INTERNAL:
    'This should not happen. Docker starts all the same. Please report it, with the output of: `docker-preloader status --json; journalctl -b -o json -u docker-preloader`',
  DISK_FOUND:
    'The device @PRELOADER_DEVICE@ has the label @PRELOADER_LABEL@, which matches the configuration. The next entries say whether it could be used.',
  DISK_MOUNTED:
    'It is mounted ro,nodev,nosuid,noexec. It stays mounted when the agent stops, because containers run from it. `docker-preloader status` shows its images.',
  DISK_ADOPTED: 'The agent or Docker was restarted. A mount is taken over only if it is of the same device.',
  DISK_GONE:
    "Its images are removed when Docker next starts, except those that an image or container of the user's needs. If the disk was still mounted, another entry says so (DISK_LOST).",
  LAYERS_ADOPTED:
    'They were pulled or loaded before, or another disk also has them. Each layer is in the store only once, so these are not linked to this disk.',
  READY:
    'Docker starts with the images of all disks, except for changes that an earlier entry says have to wait. `docker-preloader status` lists them.',
  EMPTY:
    'No attached device has a label that matches the configuration (`labels`, by default dpl-*). Docker starts without preloaded images. `lsblk -o NAME,LABEL,SIZE` shows the labels of what is attached.',
  DEGRADED:
    'Docker starts, but without some of what is on the disks. The entries before this one say what was left out, and why. `docker-preloader status` repeats them.',
  FAILED:
    'Docker starts without preloaded images, or, with the strict drop-in, not at all. The message and the entries before it say why. When that is repaired: `systemctl restart docker`',
  PENDING:
    "The disks have changed since the store was filled, or something was removed. dockerd's own store is only filled when Docker starts: `systemctl restart docker`. That of containerd is filled at any time: `docker-preloader apply`. `docker-preloader plan` lists the changes.",
  STATUS_NOT_WRITTEN:
    'Usually /run is full; check with `df /run`. The images are not affected, and the socket still answers.',
  NOT_SYNCED:
    'The images are not affected. Until it succeeds, each start compares the content of files and not only their sizes, which takes longer.',
  NOT_COMPARED:
    'The images are not affected. systemctl did not answer, so it is not known whether docker.service uses the data root that was filled.',
  NOT_FOLLOWED:
    'Usually the limit of watches on this machine is reached; `sysctl fs.inotify` shows the limits. Neither the images nor the status are affected: the agent looks for changes twice a second until it can watch.',
  READ_AHEAD:
    'Containers find it in memory. Like any cache, it gives way to whatever needs the memory more. `readAheadMb` in the configuration limits how much is read; 0 turns it off.',
  RESTORED:
    'Preloaded layers are pinned, so a prune could not free them, and dockerd has loaded the images again. To let a prune remove them, set `prunedImages` to `respect`. Images that `docker rmi` removes stay away until Docker next starts.',
  NOT_RESTORED:
    'While Docker runs, only a pull can give names with a digest. For other names the message says why. When Docker next starts, everything is back, except what the message says is removed: `systemctl restart docker`',
  PRUNES_NOT_FOLLOWED:
    'Only a unix socket can be followed, and only that of the dockerd that uses the store. Set `dockerHost` to `unix:///path` in /etc/docker-preloader/config.json, and `hosts` in daemon.json to the same address.',
  NOT_READ_AHEAD: 'Record it again with `docker-preloader record > list`, and build the disk with `--read-ahead list`.',
};
