import { torture } from './size.ts';

/**
 * What random tests begin from: `DPL_SEED`, which a failure names. `npm test` is the same each time, so that it fails
 * for what was changed and not for what was drawn; `npm run test:torture` goes where nobody has been.
 */
export const seed = Number(process.env['DPL_SEED'] ?? (torture ? Date.now() % 2 ** 20 : 1));
