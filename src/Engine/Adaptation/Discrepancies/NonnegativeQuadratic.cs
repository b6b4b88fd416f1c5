using MathNet.Numerics.LinearAlgebra;

namespace TransferEngine.Adaptation;

/// <summary>Quadratic programs whose unknowns are 0 or more.</summary>
internal static class NonnegativeQuadratic
{
    /// <summary>The x ≥ 0 of least ½ xᵀQx - cᵀx, for a positive definite Q, by an active set.</summary>
    /// <remarks>Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23, with the normal equations given.</remarks>
    public static double[] Minimize(Matrix<double> q, Vector<double> c)
    {
        int n = c.Count;
        var x = Vector<double>.Build.Dense(n);
        var free = new SortedSet<int>();
        double tolerance = 1e-12 * Math.Max(c.AbsoluteMaximum(), double.Epsilon);
        // Each round lowers the objective, so none of the 2^n sets comes twice; far fewer are ever needed.
        for (int round = 0; round < 10 * n; round++)
        {
            var descent = c - q * x;
            int steepest = Enumerable.Range(0, n).Where(i => !free.Contains(i)).DefaultIfEmpty(-1).MaxBy(i => i < 0 ? double.NegativeInfinity : descent[i]);
            if (steepest < 0 || !(descent[steepest] > tolerance))
                break;
            free.Add(steepest);
            while (free.Count > 0)
            {
                int[] members = [.. free];
                var sub = Matrix<double>.Build.Dense(members.Length, members.Length, (i, j) => q[members[i], members[j]]);
                var best = sub.Cholesky().Solve(Vector<double>.Build.Dense(members.Length, i => c[members[i]]));
                if (best.Minimum() > 0)
                {
                    for (int i = 0; i < members.Length; i++)
                        x[members[i]] = best[i];
                    break;
                }
                // As far towards the best of these as all stay 0 or more; who then is 0 is fixed there.
                double step = Enumerable.Range(0, members.Length).Where(i => best[i] <= 0).Min(i => x[members[i]] / (x[members[i]] - best[i]));
                step = double.IsNaN(step) ? 0 : step;
                for (int i = 0; i < members.Length; i++)
                {
                    x[members[i]] += step * (best[i] - x[members[i]]);
                    if (best[i] <= 0 && x[members[i]] <= tolerance)
                    {
                        x[members[i]] = 0;
                        free.Remove(members[i]);
                    }
                }
            }
        }
        return x.ToArray();
    }
}
