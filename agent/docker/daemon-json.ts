import { checkShape, flag, listOf, objectOf, text } from '../text/shape.ts';
import { isRecord } from '../text/is-record.ts';
import { membersOf } from '../text/json-members.ts';

/** The keys of /etc/docker/daemon.json that we need. An empty text counts as none. */
export interface DaemonJson {
  readonly 'data-root': string;
  /** The old name of data-root, refused by dockerd since 23.0. */
  readonly graph: string;
  readonly 'storage-driver': string;
  readonly 'userns-remap': string;
  readonly 'exec-root': string;
  /** The socket of the containerd that it is to use. */
  readonly containerd: string;
  readonly containerdStore: boolean | undefined;
  /** Where dockerd listens. */
  readonly hosts: readonly string[];
}

/** features.containerd-snapshotter */
const CONTAINERD = 'containerd-snapshotter';

/**
 * Parses a daemon.json as dockerd does (moby, daemon/config/config.go, getConflictFreeConfiguration, and Go's
 * encoding/json). A byte order mark names the encoding (since 23.0). White space or `null` alone is an empty object. If
 * a key is there twice, the last text counts, `null` does not change a text, and objects are merged.
 * @throws Error naming the key, what was expected and what was found
 */
export function parseDaemonJson(bytes: Buffer): DaemonJson {
  const found = {
    'data-root': '',
    graph: '',
    'storage-driver': '',
    'userns-remap': '',
    'exec-root': '',
    containerd: '',
  };
  let containerdStore: boolean | undefined;
  let hosts: readonly string[] = [];
  for (const [key, value] of membersOf(trimSpace(decode(bytes)))) {
    const known = [...Object.keys(found), 'features', 'hosts'].find((name) => name === key.toLowerCase());
    if (known === undefined) continue;
    if (known !== key) throw new Error(`\`${key}\`: expected the key \`${known}\` in lower case, as dockerd wants it`);
    if (key === 'features') containerdStore = value === null ? undefined : storeOf(value, containerdStore);
    else if (key === 'hosts') hosts = value === null ? [] : hostsOf(value);
    else if (value !== null) {
      checkShape(value, text, key);
      Object.assign(found, { [key]: value });
    }
  }
  return { ...found, containerdStore, hosts };
}

/** The list of hosts, in which Go reads `null` as an empty text. */
function hostsOf(value: unknown): string[] {
  const list: unknown = Array.isArray(value) ? value.map((entry: unknown) => entry ?? '') : value;
  checkShape(list, listOf(text), 'hosts');
  return list as string[];
}

function storeOf(features: unknown, before: boolean | undefined): boolean | undefined {
  checkShape(features, objectOf({}), 'features');
  if (!isRecord(features) || !Object.hasOwn(features, CONTAINERD)) return before;
  // Go reads `null` as its zero value.
  const value = features[CONTAINERD] ?? false;
  checkShape(value, flag, `features.${CONTAINERD}`);
  return value === true;
}

/** Decodes the file. Without a mark, 20.10 replaces what is not UTF-8, and newer versions do not start. */
function decode(bytes: Buffer): string {
  const mark = bytes.toString('latin1', 0, 2);
  if (mark !== '\xFF\xFE' && mark !== '\xFE\xFF') return bytes.toString('utf8').replace(/^\uFEFF/, '');
  if (bytes.length % 2 !== 0)
    throw new Error(`expected UTF-16, as its byte order mark says, of an even number of bytes, found ${bytes.length}`);
  const littleEndian = mark === '\xFF\xFE' ? bytes : Buffer.from(bytes).swap16();
  return littleEndian.toString('utf16le', 2);
}

/** Does what Go's bytes.TrimSpace does, for which a second byte order mark is no white space. */
function trimSpace(content: string): string {
  return content.replaceAll(/^(?:[^\S\uFEFF]|\u0085)+|(?:[^\S\uFEFF]|\u0085)+$/g, '');
}
