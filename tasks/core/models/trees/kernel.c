/* Sums the leaves that rows fall into, tree after tree in their order: the same additions as scikit-learn's own.

   A model is nothing but tables of numbers here, so this file is all the code there is; it is compiled as it stands.
   It reads nothing but what it is handed, keeps no state, and may run in any number of threads. */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
/* The wider registers are chosen when it is loaded, so one library serves every machine of this kind. */
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

#define LANES 32  /* trees whose leaves are narrowed down together; tasks/core/models/trees/tables.py knows it too */
#define BLOCK 256 /* rows that are looked up together, likewise */
#define GROUP 16  /* rows that walk through a tree side by side, so that they need not wait for one another's memory */
#define CODES 257 /* categories 0 to 255, and what is none of them */

typedef struct {
    const double *cuts; /* thresholds, or the category values, ascending; no values: the category is its own code */
    int64_t count;
    const void *table; /* for each code a row of masks, one for each tree: the leaves that it leaves possible */
    int32_t column;
    int32_t is_category;
} feature;

/* How many cuts lie below x: x <= cuts[j] is the same as rank(x) <= j. */
static inline int64_t rank_of(const double *cuts, int64_t count, double x)
{
    const double *base = cuts;
    int64_t left = count;
    while (left > 1) {
        int64_t half = left >> 1;
        base = base[half - 1] < x ? base + half : base;
        left -= half;
    }
    return (base - cuts) + (left == 1 && *base < x);
}

static inline int32_t code_of(const feature *f, double x)
{
    if (f->is_category && f->cuts == 0)
        return x >= 0 && x < f->count ? (int32_t)x : (int32_t)f->count;
    if (x != x)
        return (int32_t)f->count + (f->is_category ? 0 : 1);
    int64_t rank = rank_of(f->cuts, f->count, x);
    if (f->is_category)
        return (int32_t)(rank < f->count && f->cuts[rank] == x ? rank : f->count);
    return (int32_t)rank;
}

/* Of every tree all leaves are possible at first; each feature's value takes away those that it cannot lead to, whatever
   the others are. The lowest that is left is where the row falls. */
#define SUM_BY_TABLES(NAME, WORD, LOWEST)                                                                                  \
    WIDE void NAME(const feature *features, int64_t used, int64_t groups, const double *values, int64_t leaves,            \
                   const int32_t *targets, int64_t width, const double *x, int64_t rows, int64_t columns, int32_t *codes,  \
                   double *out, int64_t outputs)                                                                           \
    {                                                                                                                      \
        for (int64_t start = 0; start < rows; start += BLOCK) {                                                            \
            int64_t n = rows - start < BLOCK ? rows - start : BLOCK;                                                       \
            for (int64_t j = 0; j < used; j++)                                                                             \
                for (int64_t i = 0; i < n; i++)                                                                            \
                    codes[i * used + j] = code_of(features + j, x[(start + i) * columns + features[j].column]);            \
            for (int64_t g = 0; g < groups; g++) {                                                                         \
                const double *of_group = values + g * LANES * leaves * width;                                              \
                for (int64_t i = 0; i < n; i++) {                                                                          \
                    WORD possible[LANES];                                                                                  \
                    memset(possible, 255, sizeof possible);                                                                \
                    for (int64_t j = 0; j < used; j++) {                                                                   \
                        const WORD *masks =                                                                                \
                            (const WORD *)features[j].table + ((int64_t)codes[i * used + j] * groups + g) * LANES;         \
                        for (int k = 0; k < LANES; k++)                                                                    \
                            possible[k] &= masks[k];                                                                       \
                    }                                                                                                      \
                    double *sums = out + (start + i) * outputs;                                                            \
                    if (outputs == 1) {                                                                                    \
                        double sum = *sums;                                                                                \
                        for (int k = 0; k < LANES; k++)                                                                    \
                            sum += of_group[k * leaves + LOWEST(possible[k])];                                             \
                        *sums = sum;                                                                                       \
                        continue;                                                                                          \
                    }                                                                                                      \
                    for (int k = 0; k < LANES; k++) {                                                                      \
                        const double *value = of_group + (k * leaves + LOWEST(possible[k])) * width;                       \
                        for (int64_t w = 0; w < width; w++)                                                                \
                            sums[targets[g * LANES + k] + w] += value[w];                                                  \
                    }                                                                                                      \
                }                                                                                                          \
            }                                                                                                              \
        }                                                                                                                  \
    }

SUM_BY_TABLES(sum_by_tables_32, uint32_t, __builtin_ctz)
SUM_BY_TABLES(sum_by_tables_64, uint64_t, __builtin_ctzll)

#define MISSING_LEFT 1
#define IS_CATEGORY 2

typedef struct {
    double threshold; /* or which set of categories goes left */
    int32_t left;     /* the right child is the one after; a leaf is its own left child, and always taken */
    uint16_t feature;
    uint16_t flags;
} node;

static inline int32_t step(const node *nodes, int32_t at, const double *row, const uint8_t *sets)
{
    const node *here = nodes + at;
    double x = row[here->feature];
    int left = (x <= here->threshold) | ((x != x) & (here->flags & MISSING_LEFT));
    if (sets && (here->flags & IS_CATEGORY)) {
        int64_t code = x >= 0 && x < CODES - 1 ? (int64_t)x : CODES - 1;
        left = sets[(int64_t)here->threshold * CODES + code];
    }
    return here->left + !left;
}

void sum_by_walking(const node *nodes, const int64_t *first, const int32_t *depth, int64_t trees, const double *values,
                    const int32_t *targets, int64_t width, const uint8_t *sets, const double *x, int64_t rows,
                    int64_t columns, double *out, int64_t outputs)
{
    for (int64_t start = 0; start < rows; start += GROUP * BLOCK) {
        int64_t end = rows - start < GROUP * BLOCK ? rows : start + GROUP * BLOCK;
        for (int64_t t = 0; t < trees; t++) {
            const node *tree = nodes + first[t];
            const double *of_tree = values + first[t] * width;
            for (int64_t i = start; i < end; i += GROUP) {
                int n = (int)(end - i < GROUP ? end - i : GROUP);
                int32_t at[GROUP] = {0};
                for (int32_t d = 0; d < depth[t]; d++) {
                    int32_t moved = 0;
                    if (n == GROUP) {
                        for (int g = 0; g < GROUP; g++) {
                            int32_t to = step(tree, at[g], x + (i + g) * columns, sets);
                            moved |= to ^ at[g];
                            at[g] = to;
                        }
                    } else {
                        for (int g = 0; g < n; g++) {
                            int32_t to = step(tree, at[g], x + (i + g) * columns, sets);
                            moved |= to ^ at[g];
                            at[g] = to;
                        }
                    }
                    if (!moved)
                        break;
                }
                for (int g = 0; g < n; g++)
                    for (int64_t w = 0; w < width; w++)
                        out[(i + g) * outputs + targets[t] + w] += of_tree[at[g] * width + w];
            }
        }
    }
}
