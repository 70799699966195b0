// linear_assignment on the CPU. Threads take whole problems, the next one as soon as they are done with their last, so
// the result is the same for every number of threads.
//
// Each problem is turned so that its rows are the shorter side, and solved in two stages: rows first bid for columns
// (the augmenting row reduction of Jonker and Volgenant, 1987), then each row that is left is matched along the
// shortest augmenting path (as laid out by Crouse, 2016). Entries that are not finite count as +inf, so no path takes
// them; a row that no path can match is a case of its own, see `leave_one_out`.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// Compiled once for each instruction set, the best of which is chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_INSTRUCTION_SET __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_INSTRUCTION_SET
#endif

// Not known to GCC before 12.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define DETASSIGN_HAS_SHUFFLE 1
#endif
#endif

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t lanes = 8;
constexpr int64_t cells_alone = 4096; // below this, starting a thread costs more than the work it takes over
constexpr int64_t unmatched = -1;
constexpr int64_t left_out = -2;
constexpr double infinity = std::numeric_limits<double>::infinity();

using Values = double __attribute__((vector_size(lanes * sizeof(double))));
using Indices = int64_t __attribute__((vector_size(lanes * sizeof(int64_t))));

int64_t in_whole_lanes(int64_t size) {
  return (size + lanes - 1) / lanes * lanes;
}

// Memory whose lanes each lie in one cache line.
template <typename value_t>
class Buffer {
  struct alignas(lanes * sizeof(value_t)) Line {
    value_t values[lanes];
  };
  std::unique_ptr<Line[]> lines_;

 public:
  explicit Buffer(int64_t size) : lines_(new Line[in_whole_lanes(size) / lanes]) {}
  value_t* data() { return reinterpret_cast<value_t*>(lines_.get()); }
  value_t& operator[](int64_t index) { return data()[index]; }
};

// The two smallest of cost - price, and where the first of them is.
struct Offers {
  double best;
  double second;
  int64_t column;
};

FOR_EACH_INSTRUCTION_SET Offers best_offers(const double* cost, const double* price, int64_t size) {
  Values best = Values{} + infinity, second = best;
  Indices column = {}, at = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t first = 0; first < size; first += lanes, at += lanes) {
    const Values offer =
        *reinterpret_cast<const Values*>(cost + first) - *reinterpret_cast<const Values*>(price + first);
    const Indices better = offer < best;
    const Values loser = better ? best : offer;
    second = loser < second ? loser : second;
    column = better ? at : column;
    best = better ? offer : best;
  }
  Offers offers{best[0], second[0], column[0]};
  for (int64_t lane = 1; lane < lanes; ++lane) {
    const bool better = best[lane] < offers.best;
    const double loser = better ? offers.best : best[lane];
    offers.second = std::min({offers.second, loser, second[lane]});
    offers.column = better ? column[lane] : offers.column;
    offers.best = better ? best[lane] : offers.best;
  }
  return offers;
}

// Shortens the distance to each column to cost - price + offset where that is less, notes `row` as the one before it,
// and returns the nearest column.
FOR_EACH_INSTRUCTION_SET int64_t shorten(const double* cost, const double* price, double offset, int64_t row,
    double* distance, int64_t* parent, int64_t size) {
  Values nearest = Values{} + infinity;
  Indices column = {}, at = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t first = 0; first < size; first += lanes, at += lanes) {
    auto& known = *reinterpret_cast<Values*>(distance + first);
    auto& before = *reinterpret_cast<Indices*>(parent + first);
    const Values through =
        *reinterpret_cast<const Values*>(cost + first) - *reinterpret_cast<const Values*>(price + first) + offset;
    const Indices shorter = through < known;
    const Values now = shorter ? through : known;
    known = now;
    before = shorter ? Indices{} + row : before;
    const Indices nearer = now < nearest;
    column = nearer ? at : column;
    nearest = nearer ? now : nearest;
  }
  int64_t best = 0;
  for (int64_t lane = 1; lane < lanes; ++lane) {
    best = nearest[lane] < nearest[best] ? lane : best;
  }
  return column[best];
}

// `to`, lines of lanes `to_stride` apart, becomes the transpose of as many lines of lanes in `from`.
FOR_EACH_INSTRUCTION_SET void transpose(const double* from, int64_t from_stride, double* to, int64_t to_stride) {
#if DETASSIGN_HAS_SHUFFLE
  Values line[lanes], by1[lanes], by2[lanes], by4[lanes];
  for (int64_t l = 0; l < lanes; ++l) {
    line[l] = *reinterpret_cast<const Values*>(from + l * from_stride);
  }
  for (int64_t l = 0; l < lanes; l += 2) {
    by1[l] = __builtin_shufflevector(line[l], line[l + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    by1[l + 1] = __builtin_shufflevector(line[l], line[l + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (const int64_t l : {0, 1, 4, 5}) {
    by2[l] = __builtin_shufflevector(by1[l], by1[l + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    by2[l + 2] = __builtin_shufflevector(by1[l], by1[l + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (const int64_t l : {0, 1, 2, 3}) {
    by4[l] = __builtin_shufflevector(by2[l], by2[l + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    by4[l + 4] = __builtin_shufflevector(by2[l], by2[l + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int64_t l = 0; l < lanes; ++l) {
    *reinterpret_cast<Values*>(to + l * to_stride) = by4[l];
  }
#else
  for (int64_t l = 0; l < lanes; ++l) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      to[lane * to_stride + l] = from[l * from_stride + lane];
    }
  }
#endif
}

// Where a problem's entries lie: `rows` is its shorter side.
struct Layout {
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int64_t column_stride;
};

// An entry as the solver takes it. Doubles are scaled by a power of two, so that no sum along a path overflows.
template <typename scalar_t>
double entry_cost(scalar_t entry) {
  constexpr double scale = std::is_same_v<scalar_t, double> ? 0x1p-64 : 1.0;
  using real_t = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;
  const double value = scale * static_cast<double>(static_cast<real_t>(entry));
  return std::abs(value) < infinity ? value : infinity; // NaN is not less
}

template <typename scalar_t>
FOR_EACH_INSTRUCTION_SET void read_costs(const scalar_t* entries, int64_t stride, double* costs, int64_t count) {
  for (int64_t index = 0; index < count; ++index) {
    costs[index] = entry_cost(entries[index * stride]);
  }
}

// Solves one problem after another in the same memory. The `price_` of the columns and the `potential_` of the rows are
// the dual variables: cost - price - potential is zero for the pairs, and not below zero for what else their rows might
// take.
class Solver {
  // A row or a column in the tree of paths that a search grows, and how far it is from the search's source.
  struct Reached {
    int64_t index;
    double away;
  };

  int64_t rows_ = 0, columns_ = 0, stride_ = 0;
  Buffer<double> cost_;       // (rows in whole lanes, stride), +inf beyond the last column
  Buffer<double> tile_;       // some of its columns, before they are turned into rows
  Buffer<double> price_;      // of each column; zero until it is matched, never above
  Buffer<double> open_price_; // the same, but -inf for columns that the search may not take
  Buffer<double> distance_;   // from the search's source; +inf for columns that are settled or out of reach
  Buffer<int64_t> parent_;    // the row before each column
  Buffer<int64_t> row_of_;
  std::vector<int64_t> column_of_;
  std::vector<double> potential_; // of each row
  std::vector<Reached> reached_rows_, reached_columns_;
  std::vector<int64_t> closed_; // columns of rows of which one was left out

 public:
  Solver(int64_t most_rows, int64_t most_columns)
      : cost_(in_whole_lanes(most_rows) * in_whole_lanes(most_columns)),
        tile_(in_whole_lanes(most_rows) * lanes),
        price_(most_columns),
        open_price_(most_columns),
        distance_(most_columns),
        parent_(most_columns),
        row_of_(most_columns) {
    column_of_.reserve(most_rows);
    potential_.reserve(most_rows);
    reached_rows_.reserve(most_rows);
    reached_columns_.reserve(most_rows);
    closed_.reserve(most_rows);
  }

  template <typename scalar_t>
  void load(const scalar_t* entries, const Layout& layout) {
    rows_ = layout.rows;
    columns_ = layout.columns;
    stride_ = in_whole_lanes(columns_);
    if (layout.column_stride == 1) {
      read_rows(entries, layout);
    } else {
      read_columns(entries, layout);
    }
  }

  void solve() {
    std::fill_n(price_.data(), stride_, 0.0);
    potential_.assign(rows_, 0.0);
    column_of_.assign(rows_, unmatched);
    std::fill_n(row_of_.data(), stride_, unmatched);
    closed_.clear();
    bid();
    for (int64_t row = 0; row < rows_; ++row) {
      if (column_of_[row] == unmatched) {
        match(row);
      }
    }
    pair_left_out();
  }

  int64_t column_of(int64_t row) const { return column_of_[row]; }
  int64_t row_of(int64_t column) { return row_of_[column]; }
  bool finite(int64_t row, int64_t column) { return cost_row(row)[column] < infinity; }

 private:
  template <typename scalar_t>
  void read_rows(const scalar_t* entries, const Layout& layout) {
    for (int64_t row = 0; row < rows_; ++row) {
      read_costs(entries + row * layout.row_stride, layout.column_stride, cost_row(row), columns_);
      std::fill(cost_row(row) + columns_, cost_row(row) + stride_, infinity);
    }
  }

  // As many columns at a time as a line has lanes.
  template <typename scalar_t>
  void read_columns(const scalar_t* entries, const Layout& layout) {
    const int64_t length = in_whole_lanes(rows_);
    for (int64_t first = 0; first < columns_; first += lanes) {
      const int64_t count = std::min(lanes, columns_ - first);
      for (int64_t l = 0; l < count; ++l) {
        read_costs(entries + (first + l) * layout.column_stride, layout.row_stride, tile_.data() + l * length, rows_);
      }
      std::fill(tile_.data() + count * length, tile_.data() + lanes * length, infinity);
      for (int64_t row = 0; row < rows_; row += lanes) {
        transpose(tile_.data() + row, length, cost_row(row) + first, stride_);
      }
    }
  }

  double* cost_row(int64_t row) { return cost_.data() + row * stride_; }

  // Each row takes the column that is cheapest for it, raises what the column costs the others until its own second
  // choice is as good, and sends who had it bidding again. What ties or takes too long is left to the search.
  void bid() {
    int64_t budget = 4 * rows_;
    for (int64_t bidder = 0; bidder < rows_; ++bidder) {
      for (int64_t row = bidder; row != unmatched && budget > 0; --budget) {
        const Offers offers = best_offers(cost_row(row), price_.data(), stride_);
        const bool wins = offers.best < offers.second || row_of_[offers.column] == unmatched;
        if (!wins || offers.second == infinity) {
          break;
        }
        potential_[row] = offers.second;
        price_[offers.column] -= offers.second - offers.best;
        column_of_[row] = offers.column;
        std::swap(row, row_of_[offers.column]);
        if (row != unmatched) {
          column_of_[row] = unmatched;
        }
      }
    }
  }

  // Adds the paths through a row of the tree, and returns the column that is nearest now.
  int64_t extend(const Reached& from) {
    const double offset = from.away - potential_[from.index];
    return shorten(cost_row(from.index), open_price_.data(), offset, from.index, distance_.data(), parent_.data(),
        stride_);
  }

  int64_t free_column_as_near_as(int64_t nearest) {
    for (int64_t column = 0; column < columns_; ++column) {
      if (distance_[column] == distance_[nearest] && row_of_[column] == unmatched) {
        return column;
      }
    }
    return nearest;
  }

  // Takes a column, and with it the row that has it, into the tree.
  void settle(int64_t column) {
    reached_columns_.push_back({column, distance_[column]});
    reached_rows_.push_back({row_of_[column], distance_[column]});
    distance_[column] = infinity;
    open_price_[column] = -infinity;
  }

  void start_from(int64_t source) {
    std::copy_n(price_.data(), stride_, open_price_.data());
    for (const int64_t column : closed_) {
      open_price_[column] = -infinity;
    }
    std::fill_n(distance_.data(), stride_, infinity);
    reached_columns_.clear();
    reached_rows_.assign(1, {source, 0.0});
  }

  // Finds the cheapest way to give `source` a column: the shortest path to a free one, over rows that change theirs.
  void match(int64_t source) {
    start_from(source);
    for (;;) {
      const Reached last = reached_rows_.back();
      int64_t nearest = extend(last);
      if (distance_[nearest] == last.away) { // costs tie: without this the search would wander over all that do
        nearest = free_column_as_near_as(nearest);
      }
      if (!(distance_[nearest] < infinity)) {
        return leave_one_out(source);
      }
      if (row_of_[nearest] == unmatched) {
        reprice(distance_[nearest]);
        return shift(source, nearest);
      }
      settle(nearest);
    }
  }

  // The rows of the tree have one column less than they are, so one of them must go without: the one for which that
  // costs least. The tree's columns are closed from then on: whoever takes one of them leaves another row out, so a
  // search passes them by, and only one that ends here goes on through them.
  void leave_one_out(int64_t source) {
    open_closed_columns();
    for (const Reached& reached : reached_columns_) {
      closed_.push_back(reached.index);
    }
    const Reached loser = find_loser();
    reprice(loser.away);
    const int64_t freed = std::exchange(column_of_[loser.index], left_out);
    if (loser.index != source) {
      shift(source, freed);
    }
  }

  void open_closed_columns() {
    std::fill_n(open_price_.data(), stride_, -infinity);
    for (const int64_t column : closed_) {
      open_price_[column] = price_[column];
    }
  }

  // The row nearest to going without, which saves what its column costs it; the tree grows while there may be a nearer.
  Reached find_loser() {
    Reached loser{unmatched, infinity};
    for (size_t next = 0; next < reached_rows_.size(); ++next) {
      const Reached reached = reached_rows_[next];
      const double away = reached.away - potential_[reached.index];
      loser = away < loser.away ? Reached{reached.index, away} : loser;
      const int64_t nearest = extend(reached);
      if (next + 1 == reached_rows_.size() && distance_[nearest] < loser.away) {
        settle(nearest);
      }
    }
    return loser;
  }

  // Brings prices and potentials in line with the tree, whose end is `away` from its source.
  void reprice(double away) {
    for (const Reached& reached : reached_rows_) {
      potential_[reached.index] += away - reached.away;
    }
    for (const Reached& reached : reached_columns_) {
      price_[reached.index] -= away - reached.away;
    }
  }

  // Gives `column` to the row before it on its path, that row's column to the one before that, back to `source`.
  void shift(int64_t source, int64_t column) {
    int64_t row;
    do {
      row = parent_[column];
      row_of_[column] = row;
      std::swap(column, column_of_[row]);
    } while (row != source);
  }

  // What is left of rows and columns, in order; all entries between them are not finite.
  void pair_left_out() {
    int64_t column = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      if (column_of_[row] == left_out) {
        column = std::find(row_of_.data() + column, row_of_.data() + columns_, unmatched) - row_of_.data();
        column_of_[row] = column;
        row_of_[column] = row;
      }
    }
  }
};

// The pairs of one problem, by row, and what follows them in its line of the result.
struct Pairs {
  int64_t* row;
  int64_t* column;
  bool* not_finite;
  int64_t room;

  void add(int64_t r, int64_t c, bool finite) {
    *row++ = r;
    *column++ = c;
    *not_finite++ = !finite;
    --room;
  }
  void pad() {
    std::fill_n(row, room, -1);
    std::fill_n(column, room, -1);
    std::fill_n(not_finite, room, false);
  }
};

void write_pairs(Solver& solver, const Layout& layout, bool turned, Pairs pairs) {
  if (turned) {
    for (int64_t column = 0; column < layout.columns; ++column) {
      if (const int64_t row = solver.row_of(column); row != unmatched) {
        pairs.add(column, row, solver.finite(row, column));
      }
    }
  } else {
    for (int64_t row = 0; row < layout.rows; ++row) {
      pairs.add(row, solver.column_of(row), solver.finite(row, solver.column_of(row)));
    }
  }
  pairs.pad();
}

// The valid sizes of the problems, and the largest shorter and longer side among them.
struct Sizes {
  const int64_t* rows;
  const int64_t* columns;
  int64_t count;
  int64_t shorter = 0;
  int64_t longer = 0;
  int64_t cells = 0;

  Sizes(const Tensor& row_counts, const Tensor& column_counts, const Tensor& cost)
      : rows(row_counts.const_data_ptr<int64_t>()),
        columns(column_counts.const_data_ptr<int64_t>()),
        count(cost.size(0)) {
    for (int64_t problem = 0; problem < count; ++problem) {
      const int64_t n = rows[problem], m = columns[problem];
      const bool fit = 0 <= n && n <= cost.size(1) && 0 <= m && m <= cost.size(2);
      STD_TORCH_CHECK(fit, "linear_assignment: expected rows within 0 to ", cost.size(1), " and columns within 0 to ",
          cost.size(2), " but problem ", problem, " has ", n, " and ", m);
      shorter = std::max(shorter, std::min(n, m));
      longer = std::max(longer, std::max(n, m));
      cells += n * m;
    }
  }

  int64_t tasks() const {
    return std::min<int64_t>({torch::stable::get_num_threads(), count, 1 + cells / cells_alone});
  }
};

template <typename scalar_t>
void run(const Tensor& cost, const Sizes& sizes, Tensor& row, Tensor& column, Tensor& not_finite) {
  const auto* entries = cost.const_data_ptr<scalar_t>();
  const int64_t problem_stride = cost.stride(0), row_stride = cost.stride(1), column_stride = cost.stride(2);
  const Pairs all{row.mutable_data_ptr<int64_t>(), column.mutable_data_ptr<int64_t>(),
      not_finite.mutable_data_ptr<bool>(), row.size(1)};
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, sizes.tasks(), 1, [&](int64_t, int64_t) {
    Solver solver(sizes.shorter, sizes.longer);
    for (int64_t problem = next++; problem < sizes.count; problem = next++) {
      const int64_t n = sizes.rows[problem], m = sizes.columns[problem], at = problem * all.room;
      const bool turned = n > m;
      const Layout layout = turned ? Layout{m, n, column_stride, row_stride} : Layout{n, m, row_stride, column_stride};
      solver.load(entries + problem * problem_stride, layout);
      solver.solve();
      write_pairs(solver, layout, turned, {all.row + at, all.column + at, all.not_finite + at, all.room});
    }
  });
}

void check_sizes(const Tensor& sizes, const char* name, const Tensor& cost) {
  const bool fits = sizes.dim() == 1 && sizes.size(0) == cost.size(0) && sizes.scalar_type() == ScalarType::Long;
  STD_TORCH_CHECK(fits && sizes.is_cpu(), "linear_assignment: expected ", name, " as int64 of shape (", cost.size(0),
      ",) on the CPU");
}

std::tuple<Tensor, Tensor, Tensor> linear_assignment(const Tensor& cost, const Tensor& rows, const Tensor& columns) {
  STD_TORCH_CHECK(
      cost.dim() == 3, "linear_assignment: expected cost of shape (B, N, M) but got ", cost.dim(), " dimensions");
  check_sizes(rows, "rows", cost);
  check_sizes(columns, "columns", cost);
  const Tensor dense_rows = torch::stable::contiguous(rows), dense_columns = torch::stable::contiguous(columns);
  const Sizes sizes(dense_rows, dense_columns, cost);
  const std::vector<int64_t> shape{cost.size(0), std::min(cost.size(1), cost.size(2))};
  Tensor row = torch::stable::new_empty(cost, shape, ScalarType::Long);
  Tensor column = torch::stable::new_empty(cost, shape, ScalarType::Long);
  Tensor not_finite = torch::stable::new_empty(cost, shape, ScalarType::Bool);
  THO_DISPATCH_V2(cost.scalar_type(), "linear_assignment",
      AT_WRAP([&] { run<scalar_t>(cost, sizes, row, column, not_finite); }), AT_EXPAND(AT_FLOATING_TYPES),
      ScalarType::Half, ScalarType::BFloat16);
  return {row, column, not_finite};
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CPU, m) {
  m.impl("linear_assignment", TORCH_BOX(&linear_assignment));
}

} // namespace
} // namespace detassign
