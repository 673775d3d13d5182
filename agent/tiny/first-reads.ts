/** The version of Bun whose pages these are. */
export const RUNTIME = '1.4.5';

/**
 * What the whole program reads of its own file at a boot, as page-ranges.ts has it: of the runtime the pages that were
 * touched, and all that lies behind it, which is our own. Recorded by test/tiny/record-first-reads.ts.
 */
export const firstReads = `
0 j d 1 8 3e 11 q 8 1 c j b r 2b1 3 q s v 10 7 c 5 25 8 3 8 6 6 k i 9 38 1 c 7 10 1 6 1 a 9 4 7 c q 8 5 g 6 4 1 s 1 f
4 13 2 2n 3 12 2 fp 1 7 2 9 6 h k 4 h 2z 2 r 2 k 17 4 5 p 7 c 3 5 b k 7 4 a f 1 2r 1 29 5 40 7 34 2 5 b 1b 1 1l 1 b 2
8 1 8 1 2t 3 7 1 f 1 j 1 p 2 a 1 o 3 83 i 7 1 4 14 1j d6 4 1 s 8 g g u 2b 4 x 4 1 4 3z 4 e b 1r 5y 1 p 1 4 h 4 9 6u 1
6 1 37 1 7 i i 1 4 8 4 3 b 8 11 8 8 4 4 6 16 v x 2 4 2 b 2 h 5 w 1 e 5 f b 8 2 5 d c 1 5 2 1l 1 t 4 j 5 t 6 l 4 4 2 v
2 j 1 n 2 a 3 9 4 h 1 5 2 b 3 i 1 6 2 d 1 k 3 u d i 3 1p 1 c 2 u 4 h 1 7 1 i 2 m 1 7 4 i 3 b 3 7 3 4 1 q 4 27 1 b 7 z
f 5 1 9 1 5 5 13 1 s 4 p 1 q 2 u 1 t a d 1 a 2 7 1 c 7 1j 1 6 f 6 8 6 7 2l 4 s 3 9 3 5 h 4 1 9 7 5 3 g 2 a y n 1 1h 3
k 1 8 1 6 5 5 8 12 b 9 5 c 5 d 5 5 2 y 3 17 1 21 6 y a g 4 m 6 18 1 5 1 3k 1 21 5 x 5 7 2 5 5 x 5 8 1 r 1 1o 1 1d 2 2f
1 4 7 4 8 i 6 5 b k a 5 1 s 6 b 1 4 8 8 1 7 1 4 5 7 8 9 6 4 3 l 1 s c 17 i m 2 7 1 a e 7 1 1x 3 d 2 4 6 h 5 e 2 6 1 4
1 q 2 a d 4 l 4 1 j 2 8 5 b 2 7 2 17 4 5 5 a c 10 3 7 7 a 2 j 1 b 6 10 4 4 2 5 2 8 2 16 7 u 3 f 8 4 1 j j 4 1 h 2 2d 5
5 3 a c 5 2 a 1 7 7 7 1 a a 4 1 9 2 h 6 9 3 9 2 5 4 6 1 6 1 b e 7 9 c d 6 6 8 3 m 9 2v 6 5 2 g 7 4 a 6 2 16 1 e 1 b 1
5 6 4 4 i b 7 1 4 e 5 1 4 4 n 1 a 5 6 9 5 4 6 c c a 5 s 4 5 8 1 4 4 q j 4 1 5 2 5 3 k 4 a b 4 n 7 2 4 9 b h m 2 g 2 m
1 h 2 a 4 2d 1 o 4 w 2 q 8 2m 2 6 1 96 c 9 1 5 7 5 1 1c 2 4 1 71 1 d 6 h 1 e 7 7s 1 2w 1 10 2 a 1 4 1 s 2 8 4 2t 2 m 1
9 1 hv 9 7 2 m 5 lr 3 3lz 1 4 1 b 6 27 3 z 5 4 1 b 8 19 5 7 3 6 2 8 1 1c l 4 3 r 1 4 3 b n 4 d 4r 3 3j 1 10 1 y 3 4 c
13 1 23 2 67 1 7 1 4 j 6 7 d c 3b 1 5 2 27 h f 1 2p 3 f 1 5 1 5 1 1y 9 8 2 6 5 5 h k 1 a 1 9 2 y a 8 1 6 5 10 1 20 5 o
2 r 9 4 7 7 d b 6 f a 8 c e0 5 4 q g 1 8 d f a p r 2a 6 5 6 78 1 t 1 79 6 27 5 7 a d 5 6c 5 5 6 g 1 k 1 4 6 6 1 e 1 fx
e 6 5 gm 1 5e s 2
`;
