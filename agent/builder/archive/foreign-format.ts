/** What a file that is not a tar may be, by its first bytes, and how to turn it into an archive. */
const FORMATS: readonly (readonly [magic: Buffer | string, what: string])[] = [
  ['BZh', 'bzip2: unpack it with bunzip2'],
  [Buffer.from([0x04, 0x22, 0x4d, 0x18]), 'lz4: unpack it with unlz4'],
  [Buffer.from([0x1f, 0x9d]), 'a file of compress: unpack it with gunzip'],
  [Buffer.from([0x5d, 0x00, 0x00]), 'lzma: unpack it with unlzma'],
  ['LZIP', 'lzip: unpack it with lunzip'],
  ['PK\u0003\u0004', 'a zip: unpack it with unzip'],
  ['7z\u00bc\u00af', '7z: unpack it with 7z x'],
  [Buffer.from([0x1f, 0x8b]), 'gzip in a compressed file: unpack it once'],
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 'zstd in a compressed file: unpack it once'],
  [Buffer.from([0xfd, 0x37, 0x7a, 0x58]), 'xz in a compressed file: unpack it once'],
  ['QFI\u00fb', 'a qcow2: look at it with docker-preloader inspect'],
  ['hsqs', 'a squashfs'],
  ['\u007fELF', 'a program'],
];
/** No control characters except line ends and tabs, and no characters that UTF-8 does not have. */
const TEXT = /^[\t\n\r\u0020-\u007e\u00a0-\ufffc]*$/;

/** Which other format begins like this, in words to follow `found`; undefined if it is not a known one. */
export function foreignFormat(start: Buffer): string | undefined {
  const known = FORMATS.find(([magic]) => {
    const bytes = typeof magic === 'string' ? Buffer.from(magic, 'latin1') : magic;
    return start.subarray(0, bytes.length).equals(bytes);
  });
  if (known !== undefined) return known[1];
  if (start.length === 0) return 'nothing';
  if (start.every((byte) => byte === 0))
    return 'zeros: a tar without an entry, or a raw disk, for docker-preloader inspect';
  // The last character may be cut off.
  return TEXT.test(start.toString('utf8').replace(/\ufffd{1,3}$/, '')) ? 'text' : undefined;
}
