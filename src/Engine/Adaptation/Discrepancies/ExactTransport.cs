namespace TransferEngine.Adaptation;

/// <summary>
/// Optimal transport between two uniform samples, exactly, on the host: the plan of least cost whose rows sum to 1/n and columns to 1/m. Mass moves in units of
/// 1/(n m), along shortest augmenting paths under dual potentials, as in the Hungarian method; batches of one size give a permutation.
/// </summary>
internal sealed class ExactTransport
{
    private readonly double[] cost, rowPotentials, columnPotentials, distances, reached;
    private readonly int[] flow, demand, previousRow, previousColumn;
    private readonly bool[] isColumnDone, isRowDone;
    private readonly int rows, columns;

    private ExactTransport(double[] cost, int rows, int columns)
    {
        (this.cost, this.rows, this.columns) = (cost, rows, columns);
        (flow, demand, previousRow, previousColumn) = (new int[rows * columns], new int[columns], new int[columns], new int[rows]);
        (rowPotentials, columnPotentials, distances, reached) = (new double[rows], new double[columns], new double[columns], new double[rows]);
        (isColumnDone, isRowDone) = (new bool[columns], new bool[rows]);
        Array.Fill(demand, rows);
    }

    /// <summary>The plan, [rows, columns] in row order.</summary>
    /// <param name="cost">As many, finite.</param>
    /// <param name="rows">n.</param>
    /// <param name="columns">m.</param>
    /// <param name="cancellation">Looked at before each row.</param>
    public static double[] Plan(double[] cost, int rows, int columns, CancellationToken cancellation = default)
    {
        var solver = new ExactTransport(cost, rows, columns);
        for (int row = 0; row < rows; row++)
        {
            cancellation.ThrowIfCancellationRequested();
            for (int supply = columns; supply > 0;)
                supply -= solver.Augment(row, supply);
        }
        double unit = 1.0 / ((double)rows * columns);
        return Array.ConvertAll(solver.flow, units => units * unit);
    }

    /// <summary>Sends mass from a row along the shortest path to a column that wants some; how much.</summary>
    private int Augment(int start, int supply)
    {
        Array.Fill(distances, double.PositiveInfinity);
        Array.Clear(isColumnDone);
        Array.Clear(isRowDone);
        Visit(start, 0);
        int end;
        while (true)
        {
            end = -1;
            for (int j = 0; j < columns; j++)
            {
                if (!isColumnDone[j] && (end < 0 || distances[j] < distances[end]))
                    end = j;
            }
            if (demand[end] > 0)
                break;
            isColumnDone[end] = true;
            for (int i = 0; i < rows; i++)
            {
                if (flow[i * columns + end] > 0 && !isRowDone[i])
                {
                    previousColumn[i] = end;
                    Visit(i, distances[end]);
                }
            }
        }
        double length = distances[end];
        for (int i = 0; i < rows; i++)
            rowPotentials[i] += isRowDone[i] ? length - reached[i] : 0;
        for (int j = 0; j < columns; j++)
            columnPotentials[j] -= isColumnDone[j] ? length - distances[j] : 0;
        int amount = Math.Min(supply, demand[end]);
        for (int i = previousRow[end]; i != start; i = previousRow[previousColumn[i]])
            amount = Math.Min(amount, flow[i * columns + previousColumn[i]]);
        demand[end] -= amount;
        for (int j = end; ; j = previousColumn[previousRow[j]])
        {
            int i = previousRow[j];
            flow[i * columns + j] += amount;
            if (i == start)
                return amount;
            flow[i * columns + previousColumn[i]] -= amount;
        }
    }

    /// <summary>Reaches a row at a distance, and through it columns.</summary>
    private void Visit(int row, double distance)
    {
        isRowDone[row] = true;
        reached[row] = distance;
        for (int j = 0; j < columns; j++)
        {
            double through = distance + cost[row * columns + j] - rowPotentials[row] - columnPotentials[j];
            if (!isColumnDone[j] && through < distances[j])
                (distances[j], previousRow[j]) = (through, row);
        }
    }
}
