import { execa } from 'execa';

/**
 * Everything about the files below a folder, by path: type, mode, owner, size, time, links, device, target, xattrs,
 * content. Names are shown as Python's repr of their bytes. The folder itself is left out: dockerd gives it no time of
 * its own.
 */
export async function treeFacts(root: string): Promise<Readonly<Record<string, Readonly<Record<string, unknown>>>>> {
  const { stdout } = await execa('/usr/bin/python3', ['-c', SCRIPT, root], { maxBuffer: 2 ** 28 });
  return JSON.parse(stdout) as Record<string, Record<string, unknown>>;
}

/** Node can read neither extended attributes nor times to the nanosecond of what is no UTF-8. */
const SCRIPT = `
import hashlib, json, os, stat, sys
facts, inodes = {}, {}
def value(path, key):
    try: return os.getxattr(path, key, follow_symlinks=False).hex()
    except OSError as error: return os.strerror(error.errno)
def add(path, name):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    facts[repr(name)] = {
        'mode': oct(s.st_mode), 'owner': [s.st_uid, s.st_gid], 'mtime': s.st_mtime_ns, 'device': s.st_rdev,
        'links': None if kind == stat.S_IFDIR else s.st_nlink,
        'size': None if kind == stat.S_IFDIR else s.st_size,
        'target': repr(os.readlink(path)) if kind == stat.S_IFLNK else None,
        'content': hashlib.sha256(open(path, 'rb').read()).hexdigest() if kind == stat.S_IFREG else None,
        'xattrs': {k: value(path, k) for k in sorted(os.listxattr(path, follow_symlinks=False)) if k != 'trusted.overlay.origin'},
        'same': repr(inodes.setdefault(s.st_ino, name)),
    }
def walk(path, name):
    for entry in sorted(os.listdir(path)):
        inner = os.path.join(path, entry)
        add(inner, name + entry)
        if stat.S_ISDIR(os.lstat(inner).st_mode): walk(inner, name + entry + b'/')
walk(os.fsencode(sys.argv[1]), b'')
print(json.dumps(facts))
`;

/** dockerd leaves whiteouts and the parents that it makes itself with the time of unpacking. */
export function withoutUnsetTimes(facts: Awaited<ReturnType<typeof treeFacts>>): unknown {
  return Object.fromEntries(
    Object.entries(facts).map(([name, fact]) => {
      const unset =
        (fact['mode'] === '0o20000' && fact['device'] === 0) || /^b'odd\/implied(?:\/parents)?'$/.test(name);
      return [name, unset ? { ...fact, mtime: 'unset' } : fact];
    }),
  );
}
