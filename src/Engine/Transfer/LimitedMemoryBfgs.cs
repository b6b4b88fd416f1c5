namespace TransferEngine.Transfer;

/// <summary>
/// Minimises a smooth function of a few thousand numbers by the limited-memory BFGS method with a backtracking line search: no learning rate
/// to choose, the same result every time.
/// </summary>
/// <remarks>Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4, 7.5 and 3.1.</remarks>
internal sealed class LimitedMemoryBfgs(int memory = 10)
{
    private readonly List<(double[] Step, double[] Change, double Curvature)> pairs = [];

    /// <summary>Computes the value and writes the gradient.</summary>
    public delegate double Objective(double[] point, double[] gradient);

    /// <summary>Moves the point to a minimum near it; returns the value there.</summary>
    /// <param name="function">What is minimised.</param>
    /// <param name="point">Where to begin; the minimum on return.</param>
    /// <param name="iterations">The most steps.</param>
    /// <param name="tolerance">The greatest absolute gradient at which to stop.</param>
    /// <param name="stepDone">Called after each step with its number and the value.</param>
    public double Minimize(Objective function, double[] point, int iterations, double tolerance, Action<int, double> stepDone)
    {
        int n = point.Length;
        double[] gradient = new double[n], next = new double[n], nextGradient = new double[n], direction = new double[n];
        double value = function(point, gradient);
        pairs.Clear();
        for (int iteration = 1; iteration <= iterations && Greatest(gradient) > tolerance; iteration++)
        {
            Direct(gradient, direction);
            double slope = Dot(gradient, direction);
            if (!(slope < 0))
            {
                // Rounding spoiled the curvature: begin anew along the gradient.
                pairs.Clear();
                for (int i = 0; i < n; i++)
                    direction[i] = -gradient[i];
                slope = -Dot(gradient, gradient);
            }
            double length = pairs.Count == 0 ? Math.Min(1, 1 / Math.Sqrt(-slope)) : 1, reached = double.NaN;
            bool found = false;
            for (int trial = 0; trial < 40 && !found; trial++, length /= 2)
            {
                for (int i = 0; i < n; i++)
                    next[i] = point[i] + length * direction[i];
                reached = function(next, nextGradient);
                found = reached <= value + 1e-4 * length * slope;
            }
            if (!found)
                break; // as low as the precision of the function goes
            Remember(point, next, gradient, nextGradient);
            next.CopyTo(point, 0);
            nextGradient.CopyTo(gradient, 0);
            value = reached;
            stepDone(iteration, value);
        }
        return value;
    }

    private static double Dot(double[] a, double[] b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    private static double Greatest(double[] a)
    {
        double greatest = 0;
        foreach (double value in a)
            greatest = Math.Max(greatest, Math.Abs(value)); // NaN stays NaN, which ends the loop
        return greatest;
    }

    /// <summary>The quasi-Newton direction: the two loops over the remembered steps.</summary>
    private void Direct(double[] gradient, double[] direction)
    {
        for (int i = 0; i < gradient.Length; i++)
            direction[i] = -gradient[i];
        var weights = new double[pairs.Count];
        for (int k = pairs.Count - 1; k >= 0; k--)
        {
            weights[k] = Dot(pairs[k].Step, direction) / pairs[k].Curvature;
            Add(direction, pairs[k].Change, -weights[k]);
        }
        if (pairs.Count > 0)
        {
            double scale = pairs[^1].Curvature / Dot(pairs[^1].Change, pairs[^1].Change);
            for (int i = 0; i < direction.Length; i++)
                direction[i] *= scale;
        }
        for (int k = 0; k < pairs.Count; k++)
            Add(direction, pairs[k].Step, weights[k] - Dot(pairs[k].Change, direction) / pairs[k].Curvature);
    }

    private static void Add(double[] to, double[] what, double times)
    {
        for (int i = 0; i < to.Length; i++)
            to[i] += times * what[i];
    }

    private void Remember(double[] from, double[] to, double[] gradientFrom, double[] gradientTo)
    {
        double[] step = new double[from.Length], change = new double[from.Length];
        for (int i = 0; i < from.Length; i++)
            (step[i], change[i]) = (to[i] - from[i], gradientTo[i] - gradientFrom[i]);
        double curvature = Dot(step, change);
        if (!(curvature > 1e-12 * Dot(change, change)))
            return; // not convex along the step, or rounding: such a pair would spoil the direction
        if (pairs.Count == memory)
            pairs.RemoveAt(0);
        pairs.Add((step, change, curvature));
    }
}
