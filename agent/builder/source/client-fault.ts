import { delay } from '../../system/clock.ts';
import { PreloaderError } from '../../system/errors.ts';
import { withoutCredentials } from '../../text/without-credentials.ts';

/** A failure that may not come again. */
export class PassingFault extends PreloaderError {}

/** A registry that is reached and says nothing, for which people have already waited: it is asked once more. */
export class SilenceFault extends PassingFault {}

interface Meaning {
  /** Of a message of Go's libraries, containers/image or a registry. */
  readonly pattern: RegExp;
  /** Of the image's name, where it is not the same for all. */
  readonly name?: RegExp;
  /** What it means to people, and what to do. */
  readonly words: string;
  /** Whether it helps to try again. containers/image itself does, where a registry answers 429. */
  readonly passes?: true;
}

const MEANINGS: readonly Meaning[] = [
  {
    pattern: /toomanyrequests|too many requests|\b429\b/i,
    words: 'the registry takes no more for now: try again later, or log in',
  },
  {
    pattern:
      /unauthorized|authentication required|denied|invalid username\/password|status(?:code:? | code from registry )40[13]|\b40[13] \(/i,
    words: 'log in with skopeo login, or name a file of that with --authfile',
  },
  { pattern: /server gave HTTP response to HTTPS client/, words: 'the registry has no TLS: --insecure takes it so' },
  {
    pattern: /x509|certificate/,
    words: 'put the certificate into /etc/containers/certs.d/HOST/ca.crt, or take any with --insecure',
  },
  {
    pattern: /invalid reference format/,
    name: /^docker:\/\/\[/,
    words: 'skopeo takes no addresses of IPv6, but names that lead to them, as /etc/hosts has them',
  },
  {
    pattern: /no space left on device|disk quota exceeded/,
    words: 'make room beside the output, or in TMPDIR if there is none',
  },
  { pattern: /policy\.json: no such file/, words: 'the package golang-github-containers-common has it' },
  {
    pattern: /manifest unknown|name unknown|repository name not known|\b404\b/i,
    words: 'the registry has no such image',
  },
  { pattern: /no such host|no route to host|network is unreachable/, words: 'is it the right host?' },
  { pattern: /connection refused/, words: 'is it the right port?', passes: true },
  {
    pattern: /digest did not match|does not match provided manifest digest/i,
    words: 'the registry, or something on the way, has changed it',
    passes: true,
  },
  {
    pattern: /\bEOF\b|connection reset|broken pipe|stream error|GOAWAY/,
    words: 'the connection was cut off',
    passes: true,
  },
  // The time limit of skopeo's that we set.
  { pattern: /context deadline exceeded/, words: 'the registry did not answer in time' },
  { pattern: /deadline exceeded|timeout/i, words: 'the registry did not answer in time', passes: true },
  { pattern: /\b50[0234]\b/, words: 'the registry has a fault of its own', passes: true },
];

/** What only tells where in skopeo it happened: calls of our own registry, and what the message begins with anyway. */
const NOISE = [
  /^.*happened during read: /,
  /^Error parsing image name "[^"]*": /,
  /\(heuristic tuning data: [^)]*\): /,
  /, (?:"")?$/,
];
/** What may be secret in an address: by which token somebody asks. And in what a registry tells of the request that it got. */
const SECRETS = [/\?[^\s"]+/g, /(?<=\b(?:[Bb]asic|BASIC|[Bb]earer|BEARER)[ :=]+)(?![a-z]+\b(?![+/=.]))[\w+/=.~-]{4,}/g];
const MAX_LENGTH = 600;
/** Before each time that it is tried again. */
const PAUSES_SEC = [1, 2, 4];

/**
 * What a client told when it failed, in one line and without anything secret.
 * @param told its standard error; that of skopeo has entries of logrus
 */
export function clientFault(tool: string, name: string, told: string): PreloaderError {
  const message = [...NOISE, ...SECRETS].reduce(
    (text, what) => text.replace(what, ''),
    withoutCredentials(lastMessage(told)),
  );
  const meaning = MEANINGS.find((one) => one.pattern.test(message) && (one.name?.test(name) ?? true));
  const text = `${name}: ${tool}: ${message.slice(0, MAX_LENGTH)}${meaning === undefined ? '' : `: ${meaning.words}`}`;
  return new (meaning?.passes === true ? PassingFault : PreloaderError)('BUILD_FAILED', text);
}

function lastMessage(told: string): string {
  const lines = told.split('\n').filter((line) => line.trim() !== '');
  const fatal = lines.findLast((line) => line.includes('level=fatal')) ?? lines.at(-1) ?? 'it ended without a word';
  const quoted = /msg=("(?:[^"\\]|\\.)*")/.exec(fatal)?.[1];
  if (quoted === undefined) return fatal;
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted;
  }
}

/**
 * Tries again what fails in a way that may pass, three times as long as nothing is gained.
 * @param tell gets what is about to be done
 * @param gained how much has been done, which is not lost
 */
export async function persist<Value>(
  action: () => Promise<Value>,
  tell: (text: string) => void,
  gained: () => number = () => 0,
): Promise<Value> {
  let before = gained();
  for (let failures = 0; ;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof PassingFault)) throw error;
      failures = gained() > before ? 1 : failures + 1;
      before = gained();
      const pauses = error instanceof SilenceFault ? PAUSES_SEC.slice(0, 1) : PAUSES_SEC;
      const pauseSec = pauses[failures - 1];
      if (pauseSec === undefined) throw error;
      tell(`trying again in ${pauseSec} s: ${error.message}`);
      await delay(pauseSec * 1000);
    }
  }
}
