"""Where everything stands in the two arrays that a fit hands to its kernel.

One int64 array holds the problem and the position, one float64 array the parameters and all
scratch memory: few arguments make a cheap call, and one copy of each is the whole state.
"""

# --- int64: the problem -------------------------------------------------------------------
N_ROWS = 0  # N, rows of an epoch
N_FEATURES = 1  # D
BATCH_ROWS = 2  # rows of a batch; the last one of an epoch may be shorter
CHUNK_ROWS = 3  # rows that a thread takes at once, counted from the start of the batch
TILE_ROWS = 4  # rows that pass the phases together in the nearest caches
ACTIVATION = 5
LOSS = 6
WEIGHTED = 7  # whether there are sample weights
SHUFFLED = 8  # whether rows are visited in the order of the array `order`
N_PARAMETERS = 9  # P, in whole vectors
N_WEIGHTS = 10  # how many of them alpha shrinks, in whole vectors
N_ITER_NO_CHANGE = 11  # epochs without improvement that end the fit; 0: no such test

# --- int64: what one call of the kernel may do --------------------------------------------
BLOCK_START = 12  # first row of x, y and sample_weight, counted within the epoch
BLOCK_STOP = 13  # and the row after the last one
EPOCH_LIMIT = 14  # stop when this many epochs are complete
FIRST_RATE = 15  # the epoch that rates[0] belongs to; the last rate holds on
BUDGET = 16  # chunks left to hand out
SLOTS = 17  # most chunks of one segment
WORKERS = 18  # threads at work
WORK_SIZE = 19  # float64 scratch of each thread
N_RATES = 20

# --- int64: the position ------------------------------------------------------------------
EPOCH = 24  # epochs completed
BATCH_START = 25  # rows completed in this epoch
NEXT_CHUNK = 26  # chunks summed up in this batch
STATUS = 27
BAD_ROW = 28  # least row found not finite in the first epoch
STALE_EPOCHS = 29  # epochs in a row without improvement
SEGMENT_FIRST = 30  # the chunks now handed out: the first one
SEGMENT_CHUNKS = 31  # and how many
TICKET = 40  # generation of the segment (upper half), chunks not yet taken (lower half)
DONE = 48  # chunks of the segment computed; 40 and 48 stand in cache lines of their own
N_INTEGERS = 56

# values of STATUS
RUNNING = 0
ROW_NOT_FINITE = 1
DIVERGED = 2
NO_IMPROVEMENT = 3

NO_ROW = 2**62

# --- float64 ------------------------------------------------------------------------------
ALPHA = 0
TOL = 1
BEST_LOSS = 2
EPOCH_LOSS = 3  # sum of loss over the epoch so far
EPOCH_LOSS_LOST = 4  # what its additions rounded away
EPOCH_WEIGHT = 5  # sum of weight over the epoch so far
PARAMETERS = 8  # P of them, then P more as they were at the start of the epoch,
# then the partial sums: SLOTS + 1 rows of P + PARTIAL_EXTRA, then the scratch of each thread

# A row of partial sums: the gradient (P), then
LOSS_SUM = 0
WEIGHT_SUM = 1
PARTIAL_EXTRA = 8
