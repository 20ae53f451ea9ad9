"""The indices of everything in the three arrays that a fit passes to its kernel.

One int64 array holds the problem and the position, one float64 array the sums, and one of the
fit's own type, float64 or float32, the parameters and all scratch memory: few arguments make a
cheap call, and a copy of the three is a copy of the fit.
"""

# --- int64: the problem -------------------------------------------------------------------
N_ROWS = 0  # N, rows of an epoch
N_FEATURES = 1  # D
BATCH_ROWS = 2  # rows of a batch; the last one of an epoch may be shorter
CHUNK_ROWS = 3  # rows that a thread takes at a time, counted from the start of the batch
GROUP_CHUNKS = 4  # chunks that are summed up apart, by one machine, before groups are added
TILE_ROWS = 5  # rows that pass the phases together, in the L1 or L2 cache
ACTIVATION = 6  # of a neuron, a code of activations.py
LOSS = 7  # a code of losses.py
WEIGHTED = 8  # whether there are sample weights
SHUFFLED = 9  # whether rows are visited in the order of the array `order`
N_PARAMETERS = 10  # P, in whole vectors
N_WEIGHTS = 11  # how many of them alpha shrinks, in whole vectors
N_ITER_NO_CHANGE = 12  # epochs without improvement that end the fit; 0: no such test
TOL_SUFFICES = 13  # whether a loss that falls by no more than `tol`, be it 0, has improved
OPTIMIZER = 14  # a code of update.py
N_MOMENTS = 15  # arrays of P numbers that the optimizer keeps
N_LAYERS = 16  # L; each has a row in the table of layers
LABEL_COLUMNS = 17  # numbers of a row's label: K, or 1 for a class index
CLASSES = 18  # whether labels are class indices
REPORT = 19  # how losses are reported: OWN, or as scikit-learn does; gradients are the same

# --- int64: what one call of the kernel may do --------------------------------------------
BLOCK_START = 20  # first row of x, y and sample_weight, counted within the epoch
BLOCK_STOP = 21  # and the row after the last one
EPOCH_LIMIT = 22  # stop when this many epochs are complete
FIRST_EPOCH = 23  # that of rates[0], of which the last is repeated, and of the first order
N_RATES = 24
BUDGET = 25  # chunks left to hand out
SLOTS = 26  # maximum number of chunks in one segment
PARTIALS = 27  # rows of sums, SLOTS + 1, and one more where a batch has several groups
WORKERS = 28  # threads at work
WORK_SIZE = 29  # numbers of scratch of a tile; each thread has one, unless all share each tile
ROW_STRIDE = 30  # numbers from a row of x to the next, D or more
LABEL_STRIDE = 31  # the same of y, LABEL_COLUMNS or more
WEIGHT_STRIDE = 32  # and of sample_weight
ORDER_STRIDE = 33  # indices from the order of an epoch to that of the next; 0: they share one

# --- int64: the position ------------------------------------------------------------------
EPOCH = 34  # epochs completed
BATCH_START = 35  # rows completed in this epoch
NEXT_CHUNK = 36  # chunks summed up in this batch
GROUP_FIRST = 37  # the first chunk of the group under way
STATUS = 38
BAD_ROW = 39  # first non-finite row, found in the first epoch
STALE_EPOCHS = 40  # consecutive epochs without improvement
SEGMENT_FIRST = 41  # the chunks now handed out: the first one
SEGMENT_CHUNKS = 42  # and how many; or parts of a stage, see shared_network.py
STAGE = 43  # where threads share a batch: the stage of a tile (see shared_network.py)
TILE_START = 44  # and where that tile begins, counted from the start of the batch
# TICKET and DONE have cache lines of their own, if the array begins with one.
TICKET = 48  # generation of the segment (upper half), chunks not yet taken (lower half): their
# number, or of parts of a stage a bit for each
DONE = 56  # chunks of the segment, or parts of the stage, computed
LAYERS = 64  # the table of layers, LAYER_FIELDS numbers each, to the end of the array
N_INTEGERS = 64  # without that table

# --- int64: a row of the table of layers --------------------------------------------------
OUTPUTS = 0  # neurons
LAYER_ACTIVATION = 1
WEIGHTS_AT = 2  # where the weights (inputs, outputs) begin in the parameters
BIASES_AT = 3
A_AT = 4  # where its outputs a begin in the scratch of a tile, in panels (tile / 8, outputs, 8)
D_AT = 5  # and z, which becomes phi'(z) and then dz; of the output layer only dz
METHOD = 6  # of the gradient of its weights: see plan.py
ROWS_AT = 7  # where dz begins with the neurons side by side (outputs / 8, tile + 8, 8), for OUTER
LAYER_FIELDS = 8

# values of REPORT
OWN = 0
SCIKIT_LEARN = 1

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
EPOCH_LOSS_LOST = 4  # what rounding lost in its additions
EPOCH_WEIGHT = 5  # sum of weight over the epoch so far
RULE = 6  # four constants of the optimizer, in the order that its rule in update.py reads
POWER_1 = 10  # Adam's beta_1 to the power of the number of updates so far
POWER_2 = 11  # and its beta_2
CLIP = 12  # the most that the norm of a gradient may be, longer ones are shortened; 0: anything
SUMS = 16  # PARTIALS rows of sums: the group's, those of the chunks of a segment, perhaps the
# batch's; then, for float32, the gradients of the group and perhaps the batch (P each)

# A row of sums
LOSS_SUM = 0
WEIGHT_SUM = 1
SUMS_IN_ROW = 8

# --- vectors, of the fit's own type -------------------------------------------------------
# P parameters from 0 on, then P more as they were at the start of the epoch, then the optimizer's
# moments, P each, the gradients that belong to the rows of sums, P each, and the scratch of a tile,
# for each thread that has one of its own
