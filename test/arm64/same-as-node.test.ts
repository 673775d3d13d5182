import { PROBED_ARCHITECTURE } from '../tiny/probing.ts';

// The small engine for arm64 answers all questions as Node does here, and so as that for this machine does.
process.env[PROBED_ARCHITECTURE] = 'arm64';
await import('../tiny/same-as-node.test.ts');
